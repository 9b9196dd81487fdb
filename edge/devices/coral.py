"""A Coral Edge TPU, in this machine or in a board reached by ssh.

This project has not measured a Coral device yet.
"""

from collections.abc import Iterator
from dataclasses import replace

from edge.devices import through_runner
from edge.devices.board import Board
from edge.devices.device import Job, Result
from edge.devices.through_runner import Place


class Coral:
    """Measures compiled files with LiteRT and libedgetpu; over ssh if `host` is given.

    `first_ms` includes loading the weights into the Edge TPU; the latencies do not, because all
    runs of a file are made before those of the next. Outputs are compared with those of the
    uncompiled file on this machine's CPU.
    """

    def __init__(self):
        self._board: Board | None = None

    def takes(self, entry: dict) -> bool:
        """Returns whether edgetpu_compiler has compiled the file."""
        return _compiled(entry) is not None

    def prepare(self, job: Job) -> None:
        """Connects to the board, if one is given.

        Raises:
          UserError: the board does not answer, is busy or full, or lacks Python or LiteRT.
        """
        if job.options["host"]:
            self._board = Board(job)
            self._board.prepare()

    def run(self, job: Job) -> Iterator[Result]:
        """Measures the files; one that was not compiled does not stop the others.

        Raises:
          UserError: the board does not answer any more, or is full.
        """
        files = {}
        for name in job.files:
            compiled = _compiled(job.artifact.files[name])
            if compiled is None:
                yield Result(name, error="it is not compiled; compile it with converters.edgetpu")
            else:
                path = job.artifact.folder / compiled["name"]
                files[name] = {"path": str(path.resolve()), "sha256": compiled["sha256"]}
        if files:
            yield from self._measure(replace(job, files=tuple(files)), files)

    def clean_up(self) -> None:
        """Removes what was copied to the board."""
        if self._board is not None:
            self._board.clean_up()

    def _measure(self, job: Job, files: dict[str, dict]) -> Iterator[Result]:
        library = job.options["edgetpu_library"]
        with through_runner.samples_file(job) as samples:
            if self._board is None:
                here = through_runner.place_here(job, str(samples))
                place = replace(here, files=files, library=library)
            else:
                place = Place(self._board.call, *self._board.put(files, samples), library)
            for result in through_runner.measure_and_compare(job, place, samples):
                if result.values is not None:
                    result.values["compiled"] = job.artifact.files[result.file]["edgetpu"][
                        "compiled"
                    ]
                yield through_runner.at(job.options["host"], result)


def _compiled(entry: dict) -> dict | None:
    """Returns name, hash and size of the compiled version of a file, or None."""
    return entry.get("edgetpu", {}).get("compiled")
