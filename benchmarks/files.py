"""The .tflite files that benchmarks compare, converted once and kept by a hash of their sources."""

import hashlib
import importlib.metadata
from pathlib import Path

from benchmarks.floor import floor_graph
from benchmarks.networks import build, calibration_images
from converters import canonical
from converters.calibration import calibrate
from converters.deployment import deployment_graph
from converters.graph import Graph
from converters.quantization import fake_quant_model
from converters.tflite import convert_fake_quant
from trainers.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
# By graph: the sources whose change makes a file stale.
_NETWORKS = ("keras_shufflenet/*.py", "benchmarks/networks.py", "benchmarks/files.py")
_MODULES = ("calibration", "deployment", "emitter", "graph", "quantization", "reader", "targets")
_REWRITING = tuple(f"converters/{module}.py" for module in (*_MODULES, "tflite"))
_SOURCES = {
    "canonical": (*_NETWORKS, "converters/canonical.py"),
    "deployment": (*_NETWORKS, *_REWRITING),
    "floor": (*_NETWORKS, *_REWRITING, "benchmarks/floor.py"),
}
GRAPHS = tuple(_SOURCES)
_PACKAGES = ("keras", "tensorflow", "tensorflow-model-optimization", "tf-keras")


def versions() -> dict[str, str]:
    """Returns the versions of the packages that a conversion depends on."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def int8_file(network: str, graph: str, target: str, cache: Path) -> Path:
    """Returns a network as an int8 .tflite file, converted now unless the cache has it.

    Args:
      network: a key of `benchmarks.networks.NETWORKS`.
      graph: "canonical" (the usual conversion), "deployment", or "floor" (convolutions alone).
      target: whose form the deployment graph has; the canonical one has none.
      cache: folder of converted files.

    Examples:
      >>> path = int8_file("v2-1x", "deployment", "cpu", Path("build/benchmarks"))
    """
    target = "any" if graph == "canonical" else target
    path = cache / f"{network}_{graph}_{target}_{_digest(graph)}.tflite"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        content = _convert(network, graph, target)
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    return path


def _convert(network: str, graph: str, target: str) -> bytes:
    if graph == "floor":
        return _convert_graph(floor_graph(network, target))
    model = build(network)
    if graph == "canonical":
        return canonical.convert(model, "int8-ptq", calibration_images(model.input_shape))
    return _convert_graph(deployment_graph(model, target))


def _convert_graph(graph: Graph) -> bytes:
    images = calibration_images((None, *graph.ops["image"].settings["shape"]))
    return convert_fake_quant(fake_quant_model(graph, calibrate(graph, images)))


def _digest(graph: str) -> str:
    """Returns a hash of the sources and packages that make this kind of graph."""
    digest = hashlib.sha256(repr(versions()).encode())
    for pattern in _SOURCES[graph]:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
