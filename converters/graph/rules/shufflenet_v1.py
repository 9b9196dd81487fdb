"""Units of ShuffleNet V1: the cheapest lowering of their shuffle depends on the target.

The shuffle is between two grouped convolutions. Where one of them can absorb it, it costs nothing;
for some targets it stays a transpose (`converters.graph.targets`).
"""

import keras
import numpy as np

from converters.graph import reader
from converters.graph.kernels import dense_kernel
from converters.graph.operations import Graph
from converters.graph.operator import Folded
from converters.graph.rules.activations import hard_sigmoid
from converters.graph.rules.registry import Call, rules
from converters.graph.targets import Lowering
from keras_shufflenet import HardSqueezeExcite, ShuffleUnit, SqueezeExcite, permutations
from keras_shufflenet.permutations import PermutedTensor


@rules(ShuffleUnit)
def _unit(call: Call) -> PermutedTensor:
    x = call.graph.in_order(call.x, f"{call.name}_order")
    return _Unit(call.graph, call.lowering, call.layer, call.name).build(x)


@rules(SqueezeExcite)
def _squeeze_excite(call: Call) -> PermutedTensor:
    return squeeze_excite(call.graph, call.x, call.layer, call.name)


def squeeze_excite(
    graph: Graph,
    x: PermutedTensor,
    layer: SqueezeExcite,
    name: str,
    activation: str | None = None,
) -> PermutedTensor:
    """Adds the gate and its product with `x`."""
    gate = graph.global_pool(x, f"{name}_mean", "mean", keepdims=True)
    gate = graph.conv(gate, f"{name}_reduce", reader.plain(layer.reduce), activation="relu")
    # The product needs the gate's channels in the order of `x`.
    gate = graph.conv(gate, f"{name}_expand", reader.plain(layer.expand), order=x.order)
    gate = graph.simple("sigmoid", [gate], f"{name}_gate")
    return graph.combine("multiply", [x, gate], f"{name}_scale", activation=activation)


@rules(HardSqueezeExcite)
def _hard_squeeze_excite(call: Call) -> PermutedTensor:
    graph, x, layer, name = call.graph, call.x, call.layer, call.name
    gate = graph.global_pool(x, f"{name}_mean", "mean", keepdims=True)
    folded = reader.fold(layer.reduce, layer.reduce_bn)
    gate = graph.conv(gate, f"{name}_reduce", folded, activation="relu")
    expand = Folded(reader.array(layer.expand.kernel), np.zeros(layer.expand.filters))
    # The product needs the gate's channels in the order of `x`.
    gate = graph.conv(gate, f"{name}_expand", expand, order=x.order)
    gate = hard_sigmoid(graph, gate, f"{name}_gate")
    return graph.combine("multiply", [x, gate], f"{name}_scale")


def pad(
    graph: Graph, x: PermutedTensor, name: str, layer: keras.layers.Layer
) -> tuple[PermutedTensor, str]:
    """Returns `x`, padded like PyTorch if `layer` needs that, and the padding still to do."""
    if layer.padding == "valid":
        return graph.pad(x, name), "valid"
    return x, "same"


class _Unit:
    """Writes one unit of V1."""

    def __init__(self, graph: Graph, lowering: Lowering, unit: ShuffleUnit, name: str):
        self.graph = graph
        self.lowering = lowering
        self.unit = unit
        self.name = name
        self.groups = unit.groups
        self.compress_groups = unit.groups if unit.group_compress else 1
        bottleneck = unit.compress.filters
        # The position to which the shuffle moves each of the first convolution's channels.
        self.shuffled = np.arange(bottleneck)
        if unit.shuffle is not None:
            self.shuffled = permutations.inverse(
                permutations.shuffle(bottleneck, unit.shuffle.groups)
            )

    def build(self, x: PermutedTensor) -> PermutedTensor:
        """Adds the unit; returns its output in the trained order."""
        unit, graph, name = self.unit, self.graph, self.name
        # A ReLU after an average of ReLU outputs does nothing, so it fits into the convolution.
        fused = unit.stride == 2 and unit.squeeze_excite is None
        main = self._main(x, "relu" if fused else None)
        if unit.stride == 1:
            if unit.squeeze_excite is not None:
                main = squeeze_excite(graph, main, unit.squeeze_excite, f"{name}_se")
            return graph.combine("add", [x, main], f"{name}_add", activation="relu")
        shortcut, padding = pad(graph, x, f"{name}_shortcut_pool_pad", unit.shortcut_pool)
        shortcut = self._average(shortcut, f"{name}_shortcut_pool", padding)
        joined = [shortcut, main.shifted(shortcut.channels)]
        joined = graph.concat(joined, f"{name}_join", self.lowering.most_concatenated)
        if fused:
            return joined
        return squeeze_excite(graph, joined, unit.squeeze_excite, f"{name}_se", "relu")

    def _average(self, x: PermutedTensor, name: str, padding: str) -> PermutedTensor:
        if self.lowering.average_pool == "depthwise":
            return self.graph.depthwise_average(x, name, padding)
        return self.graph.pool(x, name, "average_pool", padding)

    def _main(self, x: PermutedTensor, activation: str | None) -> PermutedTensor:
        compress = reader.fold(self.unit.compress, self.unit.compress_bn)
        expand = reader.fold(self.unit.expand, self.unit.expand_bn)
        if self.lowering.grouped == "split" and self.groups > 1:
            return self._split(x, compress, expand, activation)
        shuffle = (
            "straight" if self.unit.shuffle is None else self.lowering.shuffle_for(self.groups)
        )
        if shuffle != "straight" and self.compress_groups == 1:
            # An ungrouped convolution can write any order: nothing is left to shuffle.
            shuffle = "dense_compress"
        name, groups = self.name, self.compress_groups
        if shuffle == "dense_compress":
            compress, groups = Folded(dense_kernel(compress.kernel, groups), compress.bias), 1
        order = permutations.inverse(self.shuffled) if shuffle == "dense_compress" else None
        x = self.graph.conv(
            x, f"{name}_compress", compress, groups=groups, activation="relu", order=order
        )
        # From here on, channels have their number after the shuffle.
        x = self._depthwise(x.renumbered(self.shuffled), "")
        groups = self.groups
        if shuffle == "transpose":
            x = self.graph.transpose(x, f"{name}_shuffle", self.unit.shuffle.groups)
        elif shuffle == "dense_expand":
            expand, groups = Folded(dense_kernel(expand.kernel, groups), expand.bias), 1
        return self.graph.conv(x, f"{name}_expand", expand, groups=groups, activation=activation)

    def _split(
        self, x: PermutedTensor, compress: Folded, expand: Folded, activation: str | None
    ) -> PermutedTensor:
        """Adds one linear segment for each group of the second convolution.

        The first convolution is cut into one for each pair of groups, so that each segment's input
        is a plain concatenation and no shuffle is needed.
        """
        sources = self._split_input(x)
        per_group = compress.kernel.shape[-1] // self.groups
        of_source = np.arange(compress.kernel.shape[-1]) // per_group
        outputs = []
        for group in range(self.groups):
            mine = self.shuffled // per_group == group
            parts = []
            for index, source in enumerate(sources):
                chosen = mine if len(sources) == 1 else mine & (of_source == index)
                if chosen.any():
                    name = f"{self.name}_compress{index}to{group}"
                    order = np.flatnonzero(chosen)
                    part = self.graph.conv(source, name, compress, activation="relu", order=order)
                    parts.append(part.renumbered(self.shuffled))
            name = f"{self.name}_chain{group}"
            segment = self.graph.concat(parts, name, self.lowering.most_concatenated)
            segment = self._depthwise(segment, str(group)).shifted(-group * per_group)
            outputs.append(self._expand_group(segment, expand, group, activation))
        return self.graph.concat(outputs, f"{self.name}_expand", self.lowering.most_concatenated)

    def _split_input(self, x: PermutedTensor) -> list[PermutedTensor]:
        """Returns the input's groups as slices, or all of it if the convolution has one group."""
        if self.compress_groups == 1:
            return [x]
        size = x.channels // self.groups
        slices = []
        for group in range(self.groups):
            name = f"{self.name}_group{group}"
            piece = self.graph.slice(x, name, group * size, (group + 1) * size)
            slices.append(PermutedTensor(piece.tensor, np.arange(size)))
        return slices

    def _expand_group(
        self, x: PermutedTensor, expand: Folded, group: int, activation: str | None
    ) -> PermutedTensor:
        size = expand.kernel.shape[-1] // self.groups
        order = np.arange(group * size, (group + 1) * size)
        name = f"{self.name}_expand{group}"
        return self.graph.conv(x, name, expand, activation=activation, order=order)

    def _depthwise(self, x: PermutedTensor, suffix: str) -> PermutedTensor:
        unit, name = self.unit, self.name
        x, padding = pad(self.graph, x, f"{name}_depthwise_pad{suffix}", unit.depthwise)
        folded = reader.fold(unit.depthwise, unit.depthwise_bn)
        return self.graph.depthwise(x, f"{name}_depthwise{suffix}", folded, unit.stride, padding)
