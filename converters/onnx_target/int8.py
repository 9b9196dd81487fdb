"""The int8 numbers of an ONNX file: the scales, zero points and weights of the .tflite file."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from converters.graph.operations import Graph
from converters.graph.operator import Op
from converters.graph.scales import scale_groups
from converters.quantization.fake_quantization import SMALLEST_WEIGHT, Range, scale_ranges

# An activation has all 256 integers; weights are symmetric around 0.
_LOWEST, _STEPS = -128, 255
# The kinds of operators that have one scale for each output channel; others have one for all.
_PER_CHANNEL = ("conv", "depthwise", "window_average")
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class Scale:
    """real = (integer - zero_point) * scale, for all activations that share it by name."""

    name: str
    scale: np.float32
    zero_point: np.int8


@dataclass(frozen=True)
class Int8Weights:
    """Integers with one float32 scale, or one for each channel along their first axis."""

    integers: np.ndarray
    scales: np.ndarray


class Int8:
    """The scales of a graph's activations, shared where operators move values.

    Args:
      graph: the deployment graph.
      ranges: (minimum, maximum) by the name of the scale, as calibration returns them.
      weight_bits: 8 for weights from -127 to 127, as in .tflite files, or 7 for -63 to 63.

    Raises:
      KeyError: a range is missing.

    Examples:
      >>> int8 = Int8(graph, calibrate(graph, images))
      >>> int8.activation("image").zero_point
      -128
    """

    def __init__(self, graph: Graph, ranges: Mapping[str, Range], weight_bits: int = 8):
        self._largest_weight = 2 ** (weight_bits - 1) - 1
        self._groups = scale_groups(graph)
        self._scales = {
            name: Scale(name, *scale_and_zero_point(limits))
            for name, limits in scale_ranges(graph, ranges).items()
        }

    def activation(self, name: str) -> Scale:
        """Returns the scale of an operator's output."""
        return self._scales[self._groups[name]]

    def kernel(self, op: Op, kernel: np.ndarray) -> Int8Weights:
        """Returns an operator's weights, symmetric around 0; `kernel` has output channels first."""
        per_channel = op.kind in _PER_CHANNEL
        axes = tuple(range(1, kernel.ndim)) if per_channel else None
        limits = np.maximum(np.abs(kernel).max(axes, keepdims=True), SMALLEST_WEIGHT)
        scales = (limits / self._largest_weight).astype(np.float32)
        integers = np.floor(kernel / scales + 0.5).astype(np.int8)
        return Int8Weights(integers, scales.reshape(-1) if per_channel else scales.reshape(()))

    def bias(self, op: Op, kernel: Int8Weights) -> Int8Weights:
        """Returns an operator's bias as int32, in steps of the input's scale times the weights'."""
        scales = kernel.scales * self.activation(op.inputs[0]).scale
        integers = np.rint(op.weights.bias.astype(np.float64) / scales)
        return Int8Weights(integers.clip(_INT32.min, _INT32.max).astype(np.int32), scales)


def scale_and_zero_point(limits: Range) -> tuple[np.float32, np.int8]:
    """Returns the int8 scale of a range, moved a little so that 0 is one of the integers.

    Examples:
      >>> scale_and_zero_point((0.0, 2.55))
      (0.01, -128)
    """
    low, high = (float(np.float32(limit)) for limit in limits)
    scale = (high - low) / _STEPS
    # Half goes up, as in TensorFlow's fake quantization.
    zero = min(max(np.floor(-low / scale + 0.5), 0), _STEPS)
    return np.float32(scale), np.int8(zero + _LOWEST)
