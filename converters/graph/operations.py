"""The deployment graph as data: operators in order with their weights, without any framework.

A tensor is a `PermutedTensor`: the name of the operator that makes it, and the logical channel
(the trained network's numbering) at each physical position. Convolutions absorb the order of their
input in their weights and can write their output in any order, so reordering channels costs
nothing if a convolution follows.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from converters.graph.kernels import STRIDE, WINDOW, permuted_kernel, window_factors
from converters.graph.operator import Folded, Op, free_name
from converters.graph.shapes import Shape, broadcast, transposed_extent, windows
from keras_shufflenet import permutations
from keras_shufflenet.permutations import PermutedTensor

# One pixel on each side: what a 3x3 window of PyTorch's has.
_ONE_PIXEL = ((1, 1), (1, 1))


@dataclass
class Graph:
    """Operators in the order of execution; the methods append one and return its output.

    Attributes:
      ops: the operators by name.
      outputs: the names of the operators that make the network's outputs.

    Examples:
      >>> graph = Graph()
      >>> image = graph.input((224, 224, 3))
      >>> x = graph.conv(image, "stem", folded, stride=2, activation="relu")
    """

    ops: dict[str, Op] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()

    @property
    def output(self) -> str:
        """The name of the operator that makes the only, or the first, output."""
        return self.outputs[0]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs, in the model's order."""
        return tuple(op.name for op in self.ops.values() if op.kind == "input")

    def to_tflite(
        self, quantization: str = "none", images: np.ndarray | Sequence[np.ndarray] | None = None
    ) -> bytes:
        """Returns the graph as the content of a .tflite file; nothing is checked.

        Args:
          quantization: "none", "float16", "dynamic", "int8-ptq" or "int16x8".
          images: preprocessed float32 calibration images [n, ...] for the last two; with several
            inputs, an array for each.

        Raises:
          ValueError: the quantization is unknown, or needs images.
          UserError: TFLiteConverter cannot convert it.

        Examples:
          >>> Path("net.tflite").write_bytes(deployment_graph(model).to_tflite("int8-ptq", images))
        """
        # By name: the room of the conversion imports this one, and not the other way round.
        conversion = importlib.import_module("converters.conversion.graph_file")
        return conversion.graph_file(self, quantization, images)

    def input(self, shape: Sequence[int], name: str = "image") -> PermutedTensor:
        """Adds an input of `shape` (height, width, channels), or of any other without the batch."""
        return self._add(name, "input", (), np.arange(shape[-1]), shape=tuple(shape))

    def shape(self, x: PermutedTensor) -> Shape:
        """Returns a tensor's shape without the batch."""
        return self.ops[x.tensor].shape

    def conv(
        self,
        x: PermutedTensor,
        name: str,
        folded: Folded,
        *,
        stride: int | Sequence[int] = 1,
        padding: str = "same",
        groups: int = 1,
        dilation: int | Sequence[int] = 1,
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
        kernel = permuted_kernel(folded.kernel, x.order, order, groups, name)
        settings = {
            "stride": stride,
            "padding": padding,
            "groups": groups,
            "dilation": dilation,
            "activation": activation,
        }
        extents = windows(self.shape(x), kernel.shape[:2], stride, padding, dilation)
        weights = Folded(kernel, folded.bias[order])
        return self._add(name, "conv", (x,), order, weights, (*extents, len(order)), **settings)

    def depthwise(
        self,
        x: PermutedTensor,
        name: str,
        folded: Folded,
        stride: int = 1,
        padding: str = "same",
        dilation: int | Sequence[int] = 1,
    ) -> PermutedTensor:
        """Adds a depthwise convolution; its channels keep the order of `x`.

        `folded.kernel` is (height, width, channels, multiplier).
        """
        multiplier = folded.kernel.shape[-1]
        # The channels that are made from one are neighbours, in the model and in the tensor.
        order = (x.order[:, np.newaxis] * multiplier + np.arange(multiplier)).ravel()
        weights = Folded(folded.kernel[:, :, x.order, :], folded.bias[order])
        extents = windows(self.shape(x), folded.kernel.shape[:2], stride, padding, dilation)
        settings = {"stride": stride, "padding": padding, "dilation": dilation}
        shape = (*extents, len(order))
        return self._add(name, "depthwise", (x,), order, weights, shape, **settings)

    def conv_transpose(
        self, x: PermutedTensor, name: str, folded: Folded, stride: tuple[int, int], padding: str
    ) -> PermutedTensor:
        """Adds a transposed convolution; `folded.kernel` is (height, width, outputs, inputs)."""
        kernel = folded.kernel[..., x.order]
        extents = zip(self.shape(x)[:2], kernel.shape[:2], stride, strict=True)
        height, width = (transposed_extent(*each, padding) for each in extents)
        shape = (height, width, kernel.shape[2])
        settings = {"stride": stride, "padding": padding}
        weights = Folded(kernel, folded.bias)
        order = np.arange(shape[-1])
        return self._add(name, "conv_transpose", (x,), order, weights, shape, **settings)

    def dense(self, x: PermutedTensor, name: str, folded: Folded) -> PermutedTensor:
        """Adds a fully connected layer; `folded.kernel` is (channels, units)."""
        weights = Folded(folded.kernel[x.order], folded.bias)
        return self._add(name, "dense", (x,), np.arange(folded.kernel.shape[-1]), weights)

    def affine(
        self, x: PermutedTensor, name: str, scale: np.ndarray, shift: np.ndarray
    ) -> PermutedTensor:
        """Adds `x * scale + shift`, one of each a channel, or one for all.

        `converters.graph.simplify` moves it into a convolution beside it where there is one.
        """
        wide = (
            np.broadcast_to(np.asarray(values, np.float64), x.order.shape)
            for values in (scale, shift)
        )
        weights = Folded(*(values[x.order] for values in wide))
        return self._add(name, "affine", (x,), x.order, weights)

    def slice(self, x: PermutedTensor, name: str, start: int, stop: int) -> PermutedTensor:
        """Adds a slice of the physical channels from `start` up to `stop`."""
        return self._add(name, "slice", (x,), x.order[start:stop], start=start, stop=stop)

    def concat(self, tensors: Sequence[PermutedTensor], name: str, most: int) -> PermutedTensor:
        """Adds a concatenation of channels, nested so that no operator has more than `most` inputs.

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

    def concat_along(
        self, tensors: Sequence[PermutedTensor], name: str, axis: int
    ) -> PermutedTensor:
        """Adds a concatenation of rows, columns or points: any axis but the channels'.

        The tensors' channels must be in one order (`aligned`).
        """
        shape = list(self.shape(tensors[0]))
        shape[axis] = sum(self.shape(x)[axis] for x in tensors)
        return self._add(name, "concat", tensors, tensors[0].order, shape=tuple(shape), axis=axis)

    def pool(
        self,
        x: PermutedTensor,
        name: str,
        kind: str,
        padding: str,
        window: int | Sequence[int] = WINDOW,
        stride: int | Sequence[int] = STRIDE,
    ) -> PermutedTensor:
        """Adds a pool, 3x3 of stride 2 by default; `kind` is "max_pool" or "average_pool"."""
        shape = (*windows(self.shape(x), window, stride, padding), x.channels)
        settings = {"padding": padding, "window": window, "stride": stride}
        return self._add(name, kind, (x,), x.order, shape=shape, **settings)

    def depthwise_average(
        self,
        x: PermutedTensor,
        name: str,
        padding: str,
        window: int | Sequence[int] = WINDOW,
        stride: int | Sequence[int] = STRIDE,
    ) -> PermutedTensor:
        """Adds an average pool as a depthwise convolution with constant weights.

        With padding "same", which is only supported for 3x3 of stride 2, an average only counts
        pixels inside the image, so the outputs at the edges are multiplied by 9 / the number of
        pixels inside.
        """
        average = self.pool(x, name, "window_average", padding, window, stride)
        if padding == "valid":
            return average
        rows, columns = (window_factors(extent) for extent in self.shape(x)[:2])
        return self.simple("edge_factor", [average], f"{name}_edges", rows=rows, columns=columns)

    def global_pool(
        self, x: PermutedTensor, name: str, kind: str, keepdims: bool
    ) -> PermutedTensor:
        """Adds the mean ("mean") or maximum ("global_max") over height and width."""
        shape = (1, 1, x.channels) if keepdims else (x.channels,)
        return self._add(name, kind, (x,), x.order, shape=shape, keepdims=keepdims)

    def pad(
        self, x: PermutedTensor, name: str, amounts: Sequence[Sequence[int]] = _ONE_PIXEL
    ) -> PermutedTensor:
        """Adds zeros around a map: ((top, bottom), (left, right)) pixels, one each by default."""
        return self._framed(x, name, "pad", amounts, 1)

    def crop(
        self, x: PermutedTensor, name: str, amounts: Sequence[Sequence[int]]
    ) -> PermutedTensor:
        """Cuts ((top, bottom), (left, right)) pixels off a map."""
        return self._framed(x, name, "crop", amounts, -1)

    def _framed(
        self, x: PermutedTensor, name: str, kind: str, amounts: Sequence[Sequence[int]], sign: int
    ) -> PermutedTensor:
        frames = (sign * sum(pixels) for pixels in amounts)
        height, width = (n + frame for n, frame in zip(self.shape(x)[:2], frames, strict=True))
        shape = (height, width, x.channels)
        return self._add(name, kind, (x,), x.order, shape=shape, amounts=amounts)

    def resize(
        self, x: PermutedTensor, name: str, size: Sequence[int], method: str
    ) -> PermutedTensor:
        """Resizes a map to (height, width); `method` is "bilinear" or "nearest"."""
        settings = {"size": tuple(size), "method": method}
        return self._add(name, "resize", (x,), x.order, shape=(*size, x.channels), **settings)

    def reshape(self, x: PermutedTensor, name: str, shape: Sequence[int]) -> PermutedTensor:
        """Gives a tensor another shape; one that has it is returned as it is."""
        before, shape = self.shape(x), tuple(shape)
        if shape == before:
            return x
        if len(shape) == 1:  # Flattened: the channels' numbers repeat at every pixel.
            pixels = np.arange(int(np.prod(before[:-1])))[:, np.newaxis]
            order = (pixels * before[-1] + x.order).ravel()
        elif shape[-1] == before[-1]:
            order = x.order
        else:
            x = self.in_order(x, f"{name}_order")
            order = np.arange(shape[-1])
        return self._add(name, "reshape", (x,), order, shape=shape)

    def permute(self, x: PermutedTensor, name: str, axes: Sequence[int]) -> PermutedTensor:
        """Swaps axes; `axes` are numbered from 0 and without the batch."""
        moves_channels = axes[-1] != len(axes) - 1
        if moves_channels:
            x = self.in_order(x, f"{name}_order")
        shape = tuple(self.shape(x)[axis] for axis in axes)
        order = np.arange(shape[-1]) if moves_channels else x.order
        return self._add(name, "permute", (x,), order, shape=shape, axes=tuple(axes))

    def in_order(
        self, x: PermutedTensor, name: str, order: np.ndarray | None = None
    ) -> PermutedTensor:
        """Returns `x` with its channels in an order, the model's by default.

        A tensor that is in another order costs an operator: a slice if the wanted channels are
        neighbours, else a product with a matrix of zeros and ones, which every target can run.
        """
        order = np.arange(x.channels) if order is None else np.asarray(order)
        if np.array_equal(order, x.order):
            return x
        positions = permutations.inverse(x.order, int(max(x.order.max(), order.max())) + 1)[order]
        start = int(positions[0])
        if np.array_equal(positions, np.arange(start, start + len(positions))):
            return self.slice(x, name, start, start + len(positions))
        settings = {"positions": tuple(positions.tolist())}
        return self._add(name, "reorder", (x,), order, **settings)

    def aligned(self, tensors: Sequence[PermutedTensor], name: str) -> list[PermutedTensor]:
        """Returns the tensors with all channels in the order of the first that has several."""
        first = max(tensors, key=lambda x: x.channels)
        return [
            x if x.channels == 1 else self.in_order(x, f"{name}_order{index}", first.order)
            for index, x in enumerate(tensors)
        ]

    def combine(
        self, kind: str, tensors: Sequence[PermutedTensor], name: str, activation: str | None = None
    ) -> PermutedTensor:
        """Adds an operator of two tensors, pixel by pixel: "add", "multiply", "maximum", …

        Raises:
          ValueError: the shapes do not fit together.
        """
        tensors = self.aligned(tensors, name)
        shape = broadcast([self.shape(x) for x in tensors])
        order = max(tensors, key=lambda x: x.channels).order
        return self._add(name, kind, tensors, order, shape=shape, activation=activation)

    def simple(
        self, kind: str, tensors: Sequence[PermutedTensor], name: str, **settings: Any
    ) -> PermutedTensor:
        """Adds an operator without weights that keeps the channels of its first input."""
        return self._add(name, kind, tensors, tensors[0].order, **settings)

    def transpose(self, x: PermutedTensor, name: str, groups: int) -> PermutedTensor:
        """Adds a shuffle of the physical channels, for when nothing can absorb the order."""
        order = x.order[permutations.shuffle(x.channels, groups)]
        return self._add(name, "transpose", (x,), order, groups=groups)

    def note_layer(self, name: str, layer: str) -> None:
        """Notes that an operator computes a layer of the model, or a part of it."""
        op = self.ops[name]
        self.ops[name] = replace(op, layers=(*op.layers, layer))

    def note_twin(self, name: str, twin: str) -> None:
        """Notes that an operator may have the same weights as an earlier one, `twin`."""
        op, other = self.ops[name], self.ops.get(twin)
        if other is not None and op.weights is not None and other.kind == op.kind:
            self.ops[name] = replace(op, shares=other.shares or twin)

    def _add(
        self,
        name: str,
        kind: str,
        inputs: Sequence[PermutedTensor],
        order: np.ndarray,
        weights: Folded | None = None,
        shape: Shape | None = None,
        **settings: Any,
    ) -> PermutedTensor:
        name = free_name(name, self.ops)
        if shape is None:
            shape = (*self.shape(inputs[0])[:-1], len(order))
        sources = tuple(x.tensor for x in inputs)
        self.ops[name] = Op(name, kind, sources, tuple(shape), weights, settings)
        self.outputs = (name,)
        return PermutedTensor(name, np.asarray(order))
