"""The .tflite files that benchmarks compare, converted once and kept by a hash of their sources."""

from pathlib import Path

from benchmarks.measuring.lower_bound import floor_graph
from benchmarks.measuring.networks import build
from common.files import atomic_write
from converters.conversion import canonical
from converters.conversion.tflite import convert_fake_quant
from converters.graph.deployment import deployment_graph
from converters.graph.operations import Graph
from converters.quantization.calibration import calibrate
from converters.quantization.fake_quantization import fake_quant_model
from converters.random_weights import calibration_images
from converters.source_digest import source_digest

_OWN = ("benchmarks/measuring/networks.py", "benchmarks/measuring/files.py")
# By graph: whose sources a file depends on (`converters.source_digest`), and what else.
_SOURCES = {
    "canonical": ("canonical", _OWN),
    "deployment": ("deployment", _OWN),
    "floor": ("deployment", (*_OWN, "benchmarks/measuring/lower_bound.py")),
}
GRAPHS = tuple(_SOURCES)


def int8_file(network: str, graph: str, target: str, cache: Path) -> Path:
    """Returns a network as an int8 .tflite file, converted now unless the cache has it.

    Args:
      network: a key of `benchmarks.measuring.networks.NETWORKS`.
      graph: "canonical" (the usual conversion), "deployment", or "floor" (convolutions alone).
      target: whose form the deployment graph has; the canonical one has none.
      cache: folder of converted files.

    Examples:
      >>> path = int8_file("v2-1x", "deployment", "cpu", Path("build/benchmarks"))
    """
    target = "any" if graph == "canonical" else target
    path = cache / f"{network}_{graph}_{target}_{source_digest(*_SOURCES[graph])}.tflite"
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
