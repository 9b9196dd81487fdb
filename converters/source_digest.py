"""Names for cached files by what made them: the sources and packages of a conversion."""

import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_NETWORKS = ("keras_shufflenet/*.py", "converters/random_weights.py")
_MODULES = ("calibration", "deployment", "emitter", "graph", "quantization", "reader", "targets")
# By graph: the sources whose change makes a file of a network with random weights stale.
_SOURCES = {
    "canonical": (*_NETWORKS, "converters/conversion/canonical.py"),
    "deployment": (*_NETWORKS, *(f"converters/{name}.py" for name in (*_MODULES, "tflite"))),
}
_PACKAGES = ("keras", "tensorflow", "tensorflow-model-optimization", "tf-keras")


def versions() -> dict[str, str]:
    """Returns the versions of the packages that a conversion depends on."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def source_digest(graph: str, more: Sequence[str] = ()) -> str:
    """Returns a hash of what makes the files of a graph.

    Args:
      graph: "canonical" or "deployment".
      more: other sources that matter, patterns relative to the repository.

    Examples:
      >>> path = cache / f"v2_{source_digest('deployment')}.tflite"
    """
    digest = hashlib.sha256(repr(versions()).encode())
    for pattern in (*_SOURCES[graph], *more):
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
