"""The int8 .tflite files that benchmarks compare, from the cache of converted networks."""

import functools
from pathlib import Path

from benchmarks.measuring.lower_bound import floor_graph
from benchmarks.measuring.networks import NETWORKS
from converters.conversion_cache import Network, convert, file_name
from converters.graph.deployment import deployment_graph

_SOURCES = ("benchmarks/measuring/networks.py", "benchmarks/measuring/lower_bound.py")
_QUANTIZATION = "int8-ptq"
# The usual conversion, ours, and only the convolutions.
GRAPHS = ("canonical", "deployment", "floor")


def int8_file(network: str, graph: str, target: str, cache: Path) -> Path:
    """Returns the path of a network's int8 .tflite file, converted now unless the cache has it.

    Args:
      network: a key of `benchmarks.measuring.networks.NETWORKS`.
      graph: one of `GRAPHS`.
      target: whose lowering a rewritten graph has; the canonical graph has none.
      cache: folder of converted files.

    Examples:
      >>> path = int8_file("v2-1x", "deployment", "cpu", Path("build/benchmarks"))
    """
    rewrites = {
        "deployment": functools.partial(deployment_graph, target=target),
        "floor": lambda model: floor_graph(network, target),
    }
    one = Network(
        name=f"{network}_{graph}" if graph == "canonical" else f"{network}_{graph}_{target}",
        build=NETWORKS[network],
        sources=_SOURCES,
        graphs=(graph,),
        quantizations=(_QUANTIZATION,),
        rewrite=rewrites.get(graph, deployment_graph),
    )
    return convert(one, cache) / file_name(graph, _QUANTIZATION)
