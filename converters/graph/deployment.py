"""Rewrites a trained Keras 3 ShuffleNet as its deployment graph, without BatchNormalization.

A channel shuffle is a permutation that is known when the graph is built, so that convolutions can
absorb it. In V2 each channel of a stage goes either into the next unit's convolutions or past them
to a later unit (`stage_routes`). A unit writes its channels in the order of the units that will use
them; each of those concatenates slices of earlier outputs, and its 1x1 convolution absorbs their
order. V1's shuffle is between two grouped convolutions; its cheapest lowering depends on the target
(`converters.graph.targets`), and for some targets it stays a transpose.
"""

from collections import defaultdict

import keras
import numpy as np

from common.cli import UserError
from converters.graph import reader
from converters.graph.operations import Folded, Graph, dense_kernel
from converters.graph.targets import LOWERINGS, Lowering
from keras_shufflenet import ShuffleUnit, ShuffleUnitV2, permutations
from keras_shufflenet.permutations import PermutedTensor
from keras_shufflenet.stage_routes import stage_routes


def deployment_graph(
    model: keras.Model,
    target: str = "cpu",
    lowering: Lowering | None = None,
    size: int | None = None,
) -> Graph:
    """Returns the deployment graph of a trained ShuffleNet V1 or V2.

    Args:
      model: as `ShuffleNetV1` or `ShuffleNetV2` built it, any variant.
      target: "cpu", "micro", "edgetpu" or "ethosu".
      lowering: replaces the target's lowering, for experiments.
      size: height and width in pixels, if the model does not fix them.

    Returns:
      A graph with the same output as `model`, apart from float32 rounding: logits (or
      probabilities, if the model ends in a softmax), or features in their order.

    Raises:
      UserError: the model is not ours or was edited (the message names the layer), or a size is
        missing.

    Examples:
      >>> graph = deployment_graph(keras_shufflenet.ShuffleNetV2(scale=0.5))
    """
    reader.check(model)
    lowering = lowering or LOWERINGS[target]
    shape = tuple(size if extent is None else extent for extent in model.input_shape[1:])
    if None in shape:
        raise UserError(f"model {model.name!r} does not fix its input's size; name one")
    graph = Graph()
    x = _stem(graph, graph.input(shape), model)
    for units in reader.stages(model):
        if isinstance(units[0], ShuffleUnitV2):
            x = _StageV2(graph, lowering, units).build(x)
        else:
            for unit in units:
                x = _UnitV1(graph, lowering, unit).build(x)
    _top(graph, x, {layer.name: layer for layer in model.layers})
    return graph


def _pad(
    graph: Graph, x: PermutedTensor, name: str, layer: keras.layers.Layer
) -> tuple[PermutedTensor, str]:
    """Returns `x`, padded like PyTorch if `layer` needs that, and the padding still to do."""
    if layer.padding == "valid":
        return graph.simple("pad", [x], name), "valid"
    return x, "same"


def _stem(graph: Graph, x: PermutedTensor, model: keras.Model) -> PermutedTensor:
    layers = {layer.name: layer for layer in model.layers}
    conv = layers["stem_conv"]
    x, padding = _pad(graph, x, "stem_pad", conv)
    folded = reader.fold(conv, layers["stem_bn"])
    stride = conv.strides[0]
    x = graph.conv(x, "stem", folded, stride=stride, padding=padding, activation="relu")
    if pool := layers.get("stem_pool"):
        x, padding = _pad(graph, x, "stem_pool_pad", pool)
        x = graph.pool(x, "stem_pool", "max_pool", padding)
    return x


def _top(graph: Graph, x: PermutedTensor, layers: dict[str, keras.layers.Layer]) -> None:
    if "head_conv" in layers:
        folded = reader.fold(layers["head_conv"], layers["head_bn"])
        x = graph.conv(x, "head", folded, activation="relu")
    pool = layers.get("global_pool")
    if pool is not None:
        is_mean = isinstance(pool, keras.layers.GlobalAveragePooling2D)
        kind = "mean" if is_mean else "global_max"
        x = graph.simple(kind, [x], "global_pool", keepdims=False)
    if classifier := layers.get("predictions"):
        x = graph.dense(x, "predictions", reader.plain(classifier))
        if keras.activations.serialize(classifier.activation) == "softmax":
            graph.simple("softmax", [x], "probabilities")


class _StageV2:
    """Writes one stage of V2; keeps the slices that each unit will consume."""

    def __init__(self, graph: Graph, lowering: Lowering, units: list[ShuffleUnitV2]):
        self.graph = graph
        self.lowering = lowering
        self.units = units
        self.routes = iter(stage_routes(units))
        # By the index of the unit that uses them (the number of units stands for the stage's
        # output), with the numbers that the channels have there.
        self.waiting: dict[int, list[PermutedTensor]] = defaultdict(list)

    def build(self, x: PermutedTensor) -> PermutedTensor:
        """Adds all units; returns the stage's output, in whatever order it has."""
        first = self.units[0]
        self._write(*self._shortcut(x), f"{first.name}_shortcut_pointwise")
        for index, unit in enumerate(self.units):
            if index:
                x = self._read(index, f"{unit.name}_input")
            self._write(*self._main(x, unit), f"{unit.name}_pointwise2")
        return self._read(len(self.units), f"{first.name.split('_')[0]}_output")

    def _read(self, index: int, name: str) -> PermutedTensor:
        return self.graph.concat(self.waiting.pop(index), name, self.lowering.most_concatenated)

    def _shortcut(self, x: PermutedTensor) -> tuple[PermutedTensor, Folded]:
        unit = self.units[0]
        x, padding = _pad(
            self.graph, x, f"{unit.name}_shortcut_depthwise_pad", unit.shortcut_depthwise
        )
        folded = reader.fold(unit.shortcut_depthwise, unit.shortcut_depthwise_bn)
        x = self.graph.depthwise(x, f"{unit.name}_shortcut_depthwise", folded, 2, padding)
        return x, reader.fold(unit.shortcut_pointwise, unit.shortcut_pointwise_bn)

    def _main(self, x: PermutedTensor, unit: ShuffleUnitV2) -> tuple[PermutedTensor, Folded]:
        folded = reader.fold(unit.pointwise1, unit.pointwise1_bn)
        x = self.graph.conv(x, f"{unit.name}_pointwise1", folded, activation="relu")
        x, padding = _pad(self.graph, x, f"{unit.name}_depthwise_pad", unit.depthwise)
        folded = reader.fold(unit.depthwise, unit.depthwise_bn)
        x = self.graph.depthwise(x, f"{unit.name}_depthwise", folded, unit.stride, padding)
        return x, reader.fold(unit.pointwise2, unit.pointwise2_bn)

    def _write(self, x: PermutedTensor, folded: Folded, name: str) -> None:
        """Adds the convolution that ends the next path and hands out its channels.

        Args:
          x: the convolution's input.
          folded: its weights.
          name: its name.
        """
        route = next(self.routes)
        takers = np.unique(route.takers)
        pieces = [np.flatnonzero(route.takers == taker) for taker in takers]
        alone = min(self.lowering.producers, len(pieces)) - 1
        made = [
            self.graph.conv(
                x, f"{name}_to{taker + 1}", folded, activation="relu", order=pieces[index]
            )
            for index, taker in enumerate(takers[:alone])
        ]
        order = np.concatenate(pieces[alone:])
        whole = self.graph.conv(x, name, folded, activation="relu", order=order)
        made += self._cut(whole, name, takers[alone:], pieces[alone:])
        for taker, piece in zip(takers, made, strict=True):
            self.waiting[taker].append(piece.renumbered(route.numbers))

    def _cut(
        self, whole: PermutedTensor, name: str, takers: np.ndarray, pieces: list[np.ndarray]
    ) -> list[PermutedTensor]:
        """Returns the pieces that `whole` consists of, as slices if there are several."""
        if len(pieces) == 1:
            return [whole]
        ends = np.cumsum([len(piece) for piece in pieces])
        return [
            self.graph.slice(whole, f"{name}_slice{taker + 1}", int(end) - len(piece), int(end))
            for taker, piece, end in zip(takers, pieces, ends, strict=True)
        ]


class _UnitV1:
    """Writes one unit of V1."""

    def __init__(self, graph: Graph, lowering: Lowering, unit: ShuffleUnit):
        self.graph = graph
        self.lowering = lowering
        self.unit = unit
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
        unit, graph, name = self.unit, self.graph, self.unit.name
        # A ReLU after an average of ReLU outputs does nothing, so it fits into the convolution.
        fused = unit.stride == 2 and unit.squeeze_excite is None
        main = self._main(x, "relu" if fused else None)
        if unit.stride == 1:
            if unit.squeeze_excite is not None:
                main = self._squeeze_excite(main, None)
            return graph.simple("add", [x, main], f"{name}_add", activation="relu")
        shortcut, padding = _pad(graph, x, f"{name}_shortcut_pool_pad", unit.shortcut_pool)
        shortcut = self._average(shortcut, f"{name}_shortcut_pool", padding)
        joined = [shortcut, main.shifted(shortcut.channels)]
        joined = graph.concat(joined, f"{name}_join", self.lowering.most_concatenated)
        return joined if fused else self._squeeze_excite(joined, "relu")

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
        name, groups = self.unit.name, self.compress_groups
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
                    name = f"{self.unit.name}_compress{index}to{group}"
                    order = np.flatnonzero(chosen)
                    part = self.graph.conv(source, name, compress, activation="relu", order=order)
                    parts.append(part.renumbered(self.shuffled))
            name = f"{self.unit.name}_chain{group}"
            segment = self.graph.concat(parts, name, self.lowering.most_concatenated)
            segment = self._depthwise(segment, str(group)).shifted(-group * per_group)
            outputs.append(self._expand_group(segment, expand, group, activation))
        return self.graph.concat(
            outputs, f"{self.unit.name}_expand", self.lowering.most_concatenated
        )

    def _split_input(self, x: PermutedTensor) -> list[PermutedTensor]:
        """Returns the input's groups as slices, or all of it if the convolution has one group."""
        if self.compress_groups == 1:
            return [x]
        size = x.channels // self.groups
        slices = []
        for group in range(self.groups):
            name = f"{self.unit.name}_group{group}"
            piece = self.graph.slice(x, name, group * size, (group + 1) * size)
            slices.append(PermutedTensor(piece.tensor, np.arange(size)))
        return slices

    def _expand_group(
        self, x: PermutedTensor, expand: Folded, group: int, activation: str | None
    ) -> PermutedTensor:
        size = expand.kernel.shape[-1] // self.groups
        order = np.arange(group * size, (group + 1) * size)
        name = f"{self.unit.name}_expand{group}"
        return self.graph.conv(x, name, expand, activation=activation, order=order)

    def _depthwise(self, x: PermutedTensor, suffix: str) -> PermutedTensor:
        unit, name = self.unit, self.unit.name
        x, padding = _pad(self.graph, x, f"{name}_depthwise_pad{suffix}", unit.depthwise)
        folded = reader.fold(unit.depthwise, unit.depthwise_bn)
        return self.graph.depthwise(x, f"{name}_depthwise{suffix}", folded, unit.stride, padding)

    def _squeeze_excite(self, x: PermutedTensor, activation: str | None) -> PermutedTensor:
        name, layer = f"{self.unit.name}_se", self.unit.squeeze_excite
        gate = self.graph.simple("mean", [x], f"{name}_mean", keepdims=True)
        folded = reader.plain(layer.reduce)
        gate = self.graph.conv(gate, f"{name}_reduce", folded, activation="relu")
        gate = self.graph.conv(gate, f"{name}_expand", reader.plain(layer.expand))
        gate = self.graph.simple("sigmoid", [gate], f"{name}_gate")
        return self.graph.simple("multiply", [x, gate], f"{name}_scale", activation=activation)
