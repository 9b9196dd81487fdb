"""A board with Linux, such as a Raspberry Pi: LiteRT on its CPU, reached by ssh."""

from collections.abc import Iterator

from edge.devices import through_runner
from edge.devices.board import Board
from edge.devices.device import Job, Result
from edge.devices.through_runner import Place


class Ssh:
    """Measures on a board as `Host` does on this machine: with the same runner, copied there.

    The board needs Python 3.7 or newer, numpy, and ai-edge-litert or tflite-runtime. Its outputs
    are compared with this machine's on the same images.
    """

    def __init__(self):
        self._board: Board | None = None

    def takes(self, entry: dict) -> bool:
        """Returns True: LiteRT runs every file."""
        return True

    def prepare(self, job: Job) -> None:
        """Connects to the board and copies the runner.

        Raises:
          UserError: the board does not answer, is busy or full, or lacks Python or LiteRT.
        """
        self._board = Board(job)
        self._board.prepare()

    def run(self, job: Job) -> Iterator[Result]:
        """Copies the files, measures them, and compares their outputs with this machine's.

        Raises:
          UserError: the board does not answer any more, or is full.
        """
        with through_runner.samples_file(job) as samples:
            files, there = self._board.put(through_runner.files_here(job), samples)
            place = Place(self._board.call, files, there)
            for result in through_runner.measure_and_compare(job, place, samples):
                yield through_runner.at(self._board.name, result)

    def clean_up(self) -> None:
        """Removes what was copied to the board."""
        if self._board is not None:
            self._board.clean_up()
