"""Files from anywhere in place of an artifact: nothing is known of their inputs and outputs."""

from collections.abc import Sequence
from pathlib import Path

from common.artifact import Artifact
from common.cli import UserError
from common.files import sha256
from common.manifest import OTHER
from common.tflite.operators import read_ends


class LooseFiles(Artifact):
    """`.tflite` files from anywhere, for measurements without samples.

    Args:
      paths: of the files.

    Attributes:
      folder: None; the manifest has no inputs, outputs or samples.

    Raises:
      UserError: a file is missing, or no .tflite file.

    Examples:
      >>> LooseFiles([Path("a.tflite")]).files["a.tflite"]["bytes"]
      4096
    """

    def __init__(self, paths: Sequence[Path]):
        distinct = len({path.name for path in paths}) == len(paths)
        self._paths = {path.name if distinct else str(path): path for path in paths}
        if len(self._paths) < len(paths):
            raise UserError("--files names a file twice; name each once")
        manifest = {
            "name": "files",
            "task": OTHER,
            **{"inputs": [], "outputs": [], "labels": None, "samples": None},
            "files": {name: _describe(path) for name, path in self._paths.items()},
        }
        super().__init__(None, manifest, [])

    def path(self, name: str) -> Path:
        """Returns the path of one of the files."""
        return self._paths[name]

    def _check_shapes(self, path: Path, found: list[list[tuple[int, ...]]]) -> None:
        """Does nothing: no manifest says what the shapes must be."""


def _describe(path: Path) -> dict:
    inputs, outputs = read_ends(path)
    return {
        "sha256": sha256(path),
        "bytes": path.stat().st_size,
        "graph": None,
        "quantization": None,
        "inputs": inputs,
        "outputs": outputs,
    }
