"""Names for cached files that depend on the sources and packages of a conversion."""

import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The sources that every file depends on.
_ALL = (
    *("keras_shufflenet/*.py", "keras_shufflenet/units/*.py", "keras_shufflenet/complexity/*.py"),
    *("converters/random_weights.py", "converters/conversion_cache.py", "converters/options.py"),
    *("converters/conversion/canonical.py", "converters/conversion/ends.py"),
    *("converters/conversion/tflite.py", "common/tflite/flatbuffer.py"),
)
# The sources that files of rewritten graphs depend on as well.
_REWRITTEN = (
    *("converters/graph/**/*.py", "converters/quantization/*.py"),
    "converters/conversion/int*.py",
)
_PACKAGES = ("keras", "tensorflow", "tensorflow-model-optimization", "tf-keras")


def versions() -> dict[str, str]:
    """Returns the versions of the packages that a conversion depends on."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def source_digest(graph: str, more: Sequence[str] = ()) -> str:
    """Returns a hash of everything that the files of a network with random weights depend on.

    Args:
      graph, more: as for `source_files`.

    Raises:
      FileNotFoundError: a pattern matches no file, for example because a source was moved.

    Examples:
      >>> path = cache / f"v2_{source_digest('deployment')}.tflite"
    """
    digest = hashlib.sha256(repr(versions()).encode())
    for path in source_files(graph, more):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def source_files(graph: str, more: Sequence[str] = ()) -> list[Path]:
    """Returns the sources that `source_digest` hashes.

    Args:
      graph: "canonical", or another name for a rewritten graph.
      more: patterns of further sources, relative to the repository.

    Raises:
      FileNotFoundError: a pattern matches no file.
    """
    found: list[Path] = []
    for pattern in (*_ALL, *(() if graph == "canonical" else _REWRITTEN), *more):
        paths = sorted(ROOT.glob(pattern))
        if not paths:
            raise FileNotFoundError(f"no source matches {pattern}")
        found += paths
    return found
