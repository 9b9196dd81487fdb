"""The deployment graph as data: operators in order with their weights, without any framework.

A tensor is a `PermutedTensor`: the name of the operator that makes it, and the logical channel
(the trained network's numbering) at each physical position. Convolutions absorb the order of their
input in their weights and can write their output in any order, so reordering channels costs
nothing if a convolution follows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_shufflenet import permutations
from keras_shufflenet.layers import ungrouped_kernel
from keras_shufflenet.permutations import PermutedTensor

# The kinds of operators, and whether the output has the input's int8 scale (TFLite requires it for
# every operator that only moves or selects values).
SAME_SCALE = {
    "input": False,
    "conv": False,
    "depthwise": False,
    "dense": False,
    "add": False,
    "multiply": False,
    "mean": False,
    "sigmoid": False,
    "softmax": False,
    "global_max": True,
    "pad": True,
    "max_pool": True,
    "average_pool": True,
    "window_average": False,
    "edge_factor": False,
    "slice": True,
    "concat": True,
    "transpose": True,
}

# It computes, but in its input's int8 scale, so that a factor of 1 does not change the integers.
_TIED = {"edge_factor"}
# A pool's window, in pixels per direction, and its stride.
_WINDOW, _STRIDE = 3, 2


class Folded(NamedTuple):
    """A convolution's float32 kernel and bias, with BatchNormalization folded in."""

    kernel: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Op:
    """One operator: the names of its inputs, its output channels, its weights and its settings."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    channels: int
    weights: Folded | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Graph:
    """Operators in the order of execution; `output` is the name of the last one.

    The methods append an operator and return its output.

    Examples:
      >>> graph = Graph()
      >>> image = graph.input((224, 224, 3))
      >>> x = graph.conv(image, "stem", folded, stride=2, activation="relu")
    """

    ops: dict[str, Op] = field(default_factory=dict)
    output: str = ""

    def input(self, shape: Sequence[int]) -> PermutedTensor:
        """Adds the input of `shape` (height, width, channels)."""
        channels = shape[-1]
        return self._add("image", "input", (), np.arange(channels), shape=tuple(shape))

    def conv(
        self,
        x: PermutedTensor,
        name: str,
        folded: Folded,
        *,
        stride: int = 1,
        padding: str = "same",
        groups: int = 1,
        activation: str | None = None,
        order: np.ndarray | None = None,
    ) -> PermutedTensor:
        """Adds a convolution; `folded` is in logical order.

        Args:
          x: the input; with groups, each group's logical channels must be adjacent, in any order
            within the group.
          order: logical output channels to compute, in the wanted order; all by default. With
            groups it must have all channels, each group's adjacent.

        Raises:
          ValueError: the order crosses groups.
        """
        order = np.arange(folded.kernel.shape[-1]) if order is None else order
        kernel = _permuted_kernel(folded.kernel, x.order, order, groups, name)
        settings = {"stride": stride, "padding": padding, "groups": groups}
        weights = Folded(kernel, folded.bias[order])
        return self._add(name, "conv", (x,), order, weights, activation=activation, **settings)

    def depthwise(
        self, x: PermutedTensor, name: str, folded: Folded, stride: int, padding: str
    ) -> PermutedTensor:
        """Adds a depthwise convolution; channels keep the order of `x`."""
        weights = Folded(folded.kernel[:, :, x.order, :], folded.bias[x.order])
        return self._add(name, "depthwise", (x,), x.order, weights, stride=stride, padding=padding)

    def dense(self, x: PermutedTensor, name: str, folded: Folded) -> PermutedTensor:
        """Adds a fully connected layer; `folded.kernel` is (channels, units)."""
        weights = Folded(folded.kernel[x.order], folded.bias)
        return self._add(name, "dense", (x,), np.arange(folded.kernel.shape[-1]), weights)

    def slice(self, x: PermutedTensor, name: str, start: int, stop: int) -> PermutedTensor:
        """Adds a slice of the physical channels from `start` up to `stop`."""
        return self._add(name, "slice", (x,), x.order[start:stop], start=start, stop=stop)

    def concat(self, tensors: Sequence[PermutedTensor], name: str, most: int) -> PermutedTensor:
        """Adds a concatenation, nested so that no operator has more than `most` inputs.

        A single tensor is returned as it is.
        """
        tensors = list(tensors)
        inner = 0
        while len(tensors) > most:
            tensors = [self._concat(tensors[:most], f"{name}_{inner}"), *tensors[most:]]
            inner += 1
        return self._concat(tensors, name) if len(tensors) > 1 else tensors[0]

    def _concat(self, tensors: Sequence[PermutedTensor], name: str) -> PermutedTensor:
        return self._add(name, "concat", tensors, np.concatenate([x.order for x in tensors]))

    def pool(self, x: PermutedTensor, name: str, kind: str, padding: str) -> PermutedTensor:
        """Adds a 3x3 pool of stride 2; `kind` is "max_pool" or "average_pool"."""
        return self._add(name, kind, (x,), x.order, padding=padding, stride=_STRIDE)

    def depthwise_average(self, x: PermutedTensor, name: str, padding: str) -> PermutedTensor:
        """Adds a 3x3 average of stride 2 as a depthwise convolution with constant weights 1/9.

        With padding "same" an average only counts pixels inside the image, so the outputs at the
        edges are multiplied by 9 / the number of pixels inside.
        """
        average = self._add(name, "window_average", (x,), x.order, padding=padding, stride=_STRIDE)
        if padding == "valid":
            return average
        rows, columns = (window_factors(extent) for extent in self.extents(x))
        return self.simple("edge_factor", [average], f"{name}_edges", rows=rows, columns=columns)

    def extents(self, x: PermutedTensor) -> tuple[int, int]:
        """Returns height and width, without the zeros that an explicit pad adds.

        With any padding, a stride divides them and rounds up.
        """
        op, divisor = self.ops[x.tensor], 1
        while op.kind != "input":
            divisor *= op.settings.get("stride", 1)
            op = self.ops[op.inputs[0]]
        height, width, _ = op.settings["shape"]
        return -(-height // divisor), -(-width // divisor)

    def simple(
        self, kind: str, tensors: Sequence[PermutedTensor], name: str, **settings: Any
    ) -> PermutedTensor:
        """Adds an operator without weights that keeps the channels of its first input."""
        return self._add(name, kind, tensors, tensors[0].order, **settings)

    def transpose(self, x: PermutedTensor, name: str, groups: int) -> PermutedTensor:
        """Adds a shuffle of the physical channels, for when nothing can absorb the order."""
        order = x.order[permutations.shuffle(x.channels, groups)]
        return self._add(name, "transpose", (x,), order, groups=groups)

    def _add(
        self,
        name: str,
        kind: str,
        inputs: Sequence[PermutedTensor],
        order: np.ndarray,
        weights: Folded | None = None,
        **settings: Any,
    ) -> PermutedTensor:
        if name in self.ops:
            raise ValueError(f"two operators have the name {name!r}")
        sources = tuple(x.tensor for x in inputs)
        self.ops[name] = Op(name, kind, sources, len(order), weights, settings)
        self.output = name
        return PermutedTensor(name, np.asarray(order))


def _permuted_kernel(
    kernel: np.ndarray, inputs: np.ndarray, outputs: np.ndarray, groups: int, name: str
) -> np.ndarray:
    """Returns a (grouped) kernel for an input whose channels have the order `inputs`."""
    if groups == 1:
        return kernel[:, :, inputs, :][..., outputs]
    per_group = kernel.shape[2]
    blocks = inputs.reshape(groups, per_group)
    out_blocks = outputs.reshape(groups, -1)
    pieces = []
    for group, (block, out_block) in enumerate(zip(blocks, out_blocks, strict=True)):
        if set(block // per_group) != {group} or set(out_block // len(out_block)) != {group}:
            raise ValueError(f"{name}: the order of the channels crosses its groups")
        pieces.append(kernel[:, :, block - group * per_group, :][..., out_block])
    return np.concatenate(pieces, axis=-1)


def dense_kernel(kernel: np.ndarray, groups: int) -> np.ndarray:
    """Returns the ungrouped kernel equal to a grouped one: block-diagonal, zeros elsewhere."""
    if groups == 1:
        return kernel
    # Adding 0 makes -0 a plain zero.
    return keras.ops.convert_to_numpy(ungrouped_kernel(kernel, groups)) + 0


def window_factors(extent: int) -> tuple[float, ...]:
    """Returns 3 / the number of pixels inside the image for every window along one direction.

    Args:
      extent: pixels of the image in that direction; padded as TensorFlow's "same" does.
    """
    starts = _STRIDE * np.arange(-(-extent // _STRIDE))
    # Both ends have the same padding, or the last end one more.
    starts -= (starts[-1] + _WINDOW - extent) // 2
    inside = np.minimum(starts + _WINDOW, extent) - np.maximum(starts, 0)
    return tuple(float(factor) for factor in _WINDOW / inside)


def scale_groups(graph: Graph) -> dict[str, str]:
    """Returns the name of each operator's int8 scale; operators with equal names share a scale.

    Operators that only move values tie their inputs and output together: the connected
    components of these ties are the scales. Therefore nothing needs to be requantized.
    """
    parent = {name: name for name in graph.ops}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for op in graph.ops.values():
        if SAME_SCALE[op.kind] or op.kind in _TIED:
            for source in op.inputs:
                parent[root(op.name)] = root(source)
    return {name: root(name) for name in graph.ops}
