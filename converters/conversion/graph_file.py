"""A deployment graph as a .tflite file, without a check or an artifact around it."""

from collections.abc import Sequence

import numpy as np

from converters.conversion import tflite
from converters.conversion.ends import Ends
from converters.graph.emitter import emit
from converters.graph.operations import Graph
from converters.options import CALIBRATED, DEFAULT_METHOD
from converters.quantization.calibration import calibrate
from converters.quantization.fake_quantization import fake_quant_model

_QUANTIZATIONS = ("none", "float16", "dynamic", *CALIBRATED)


def graph_file(
    graph: Graph, quantization: str, images: np.ndarray | Sequence[np.ndarray] | None
) -> bytes:
    """Returns a graph as a .tflite file; see `Graph.to_tflite`."""
    if quantization not in _QUANTIZATIONS:
        raise ValueError(
            f"`quantization` must be one of {_QUANTIZATIONS}. Received: {quantization!r}"
        )
    if quantization in CALIBRATED and images is None:
        raise ValueError(f"`images` must hold calibration images for {quantization!r}")
    ends = Ends(graph.inputs, graph.outputs)
    if quantization == "int8-ptq":
        model = fake_quant_model(graph, calibrate(graph, images, DEFAULT_METHOD))
        return tflite.convert_fake_quant(model, ends=ends)
    if quantization == "int16x8":
        return tflite.convert_int16(emit(graph), images, ends)
    return tflite.convert_float(emit(graph), quantization, ends)
