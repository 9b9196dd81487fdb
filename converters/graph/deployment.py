"""A trained Keras 3 ShuffleNet → the deployment graph: no BatchNormalization, no shuffle.

A shuffle is a permutation that is known when the graph is built. In V2 each channel of a stage
goes either into the next unit's convolutions or past them to a later one: a unit writes its
channels in the order of the units that will consume them, every consumer concatenates slices of
earlier outputs, and its 1x1 convolution absorbs their order. V1's shuffle lies between two grouped
convolutions; its cheapest form depends on the target (`converters.graph.targets`).
"""

from collections import defaultdict

import keras
import numpy as np

from common.cli import UserError
from converters.graph import reader
from converters.graph.operations import Folded, Graph, Wire, dense_kernel
from converters.graph.targets import FORMS, Form
from keras_shufflenet import ShuffleUnit, ShuffleUnitV2


def deployment_graph(
    model: keras.Model, target: str = "cpu", form: Form | None = None, size: int | None = None
) -> Graph:
    """Returns the deployment graph of a trained ShuffleNet V1 or V2.

    Args:
      model: as `ShuffleNetV1` or `ShuffleNetV2` built it, any variant.
      target: "cpu", "micro", "edgetpu" or "ethosu".
      form: instead of a target's form, for experiments.
      size: height and width in pixels, where the model leaves them open.

    Returns:
      A graph with the same output as `model` but for float32 rounding: logits (or probabilities,
      where the model ends in a softmax), or features in their order.

    Raises:
      UserError: the model is not ours or was edited (the layer is named), or a size is missing.

    Examples:
      >>> graph = deployment_graph(keras_shufflenet.ShuffleNetV2(scale=0.5))
    """
    reader.check(model)
    form = form or FORMS[target]
    shape = tuple(size if extent is None else extent for extent in model.input_shape[1:])
    if None in shape:
        raise UserError(f"model {model.name!r} leaves its input's size open; name one")
    graph = Graph()
    x = _stem(graph, graph.input(shape), model)
    for units in reader.stages(model):
        if isinstance(units[0], ShuffleUnitV2):
            x = _StageV2(graph, form, units).build(x)
        else:
            for unit in units:
                x = _UnitV1(graph, form, unit).build(x)
    _top(graph, x, {layer.name: layer for layer in model.layers})
    return graph


def _pad(graph: Graph, x: Wire, name: str, layer: keras.layers.Layer) -> tuple[Wire, str]:
    """Returns `x`, padded as PyTorch does if `layer` wants that, and the padding that is left."""
    if layer.padding == "valid":
        return graph.simple("pad", [x], name), "valid"
    return x, "same"


def _stem(graph: Graph, x: Wire, model: keras.Model) -> Wire:
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


def _top(graph: Graph, x: Wire, layers: dict[str, keras.layers.Layer]) -> None:
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
    """Writes one stage of V2: keeps, for every unit, the slices that it will consume."""

    def __init__(self, graph: Graph, form: Form, units: list[ShuffleUnitV2]):
        self.graph = graph
        self.form = form
        self.units = units
        self.half = units[0].filters // 2
        self.interleaved = units[0].convention == "megvii"
        # By index of the unit that consumes them (the number of units: the stage's output):
        # wires whose order is the consumer's numbering.
        self.waiting: dict[int, list[Wire]] = defaultdict(list)

    def build(self, x: Wire) -> Wire:
        """Adds all units; returns the stage's output, in whatever order it came."""
        # Where a unit's concatenated channels lie in its output: shuffled, the first half's are the
        # even ones; in Megvii's convention the next unit's split shuffles them.
        positions = np.arange(2 * self.half)
        if not self.interleaved:
            positions = positions.reshape(self.half, 2).T.ravel()
        first = self.units[0]
        shortcut = first.shortcut_pointwise.filters
        self._write(self._shortcut(x), f"{first.name}_shortcut_pointwise", 0, positions[:shortcut])
        self._write(self._main(x, first), f"{first.name}_pointwise2", 0, positions[shortcut:])
        for index, unit in enumerate(self.units[1:], 1):
            x = self._read(index, f"{unit.name}_input")
            main = positions[self.half :]
            self._write(self._main(x, unit), f"{unit.name}_pointwise2", index, main)
        return self._read(len(self.units), f"{first.name.split('_')[0]}_output")

    def _read(self, index: int, name: str) -> Wire:
        return self.graph.concat(self.waiting.pop(index), name, self.form.most_concatenated)

    def _shortcut(self, x: Wire) -> tuple[Wire, Folded]:
        unit = self.units[0]
        x, padding = _pad(
            self.graph, x, f"{unit.name}_shortcut_depthwise_pad", unit.shortcut_depthwise
        )
        folded = reader.fold(unit.shortcut_depthwise, unit.shortcut_depthwise_bn)
        x = self.graph.depthwise(x, f"{unit.name}_shortcut_depthwise", folded, 2, padding)
        return x, reader.fold(unit.shortcut_pointwise, unit.shortcut_pointwise_bn)

    def _main(self, x: Wire, unit: ShuffleUnitV2) -> tuple[Wire, Folded]:
        folded = reader.fold(unit.pointwise1, unit.pointwise1_bn)
        x = self.graph.conv(x, f"{unit.name}_pointwise1", folded, activation="relu")
        x, padding = _pad(self.graph, x, f"{unit.name}_depthwise_pad", unit.depthwise)
        folded = reader.fold(unit.depthwise, unit.depthwise_bn)
        x = self.graph.depthwise(x, f"{unit.name}_depthwise", folded, unit.stride, padding)
        return x, reader.fold(unit.pointwise2, unit.pointwise2_bn)

    def _write(
        self, source: tuple[Wire, Folded], name: str, index: int, positions: np.ndarray
    ) -> None:
        """Adds the convolution that ends a path of unit `index` and hands its slices out.

        Args:
          source: the convolution's input and weights.
          positions: where its channels lie in the unit's shuffled output.
        """
        x, folded = source
        pieces = self._route(positions, index)
        alone = min(self.form.producers, len(pieces)) - 1
        together = pieces[alone:]
        for piece, consumer, numbering in pieces[:alone]:
            wire = self.graph.conv(
                x, f"{name}_to{consumer + 1}", folded, activation="relu", order=piece
            )
            self.waiting[consumer].append(Wire(wire.op, numbering))
        order = np.concatenate([piece for piece, _, _ in together])
        whole = self.graph.conv(x, name, folded, activation="relu", order=order)
        start = 0
        for piece, consumer, numbering in together:
            wire, stop = whole, start + len(piece)
            if len(together) > 1:
                wire = self.graph.slice(whole, f"{name}_slice{consumer + 1}", start, stop)
            self.waiting[consumer].append(Wire(wire.op, numbering))
            start = stop

    def _route(self, positions: np.ndarray, index: int) -> list[tuple[np.ndarray, int, np.ndarray]]:
        """Follows channels through the shuffles to the unit that consumes them.

        A channel in the first half passes the next unit's split, and its shuffle doubles the
        position; one in the second half enters the next unit's convolutions. In Megvii's convention
        the even ones pass, which halves the position, and the odd ones enter.

        Returns:
          For each consumer: the channels (indices into `positions`), the consumer, and the
          channels' numbers there.
        """
        last = len(self.units) - 1
        consumers, numbers = [], []
        for position in positions:
            unit = index
            while unit < last and self._passes(position):
                position = position // 2 if self.interleaved else 2 * position
                unit += 1
            consumers.append(unit + 1)
            entered = position // 2 if self.interleaved else position - self.half
            numbers.append(position if unit == last else entered)
        consumers, numbers = np.array(consumers), np.array(numbers)
        return [
            (np.flatnonzero(consumers == consumer), int(consumer), numbers[consumers == consumer])
            for consumer in np.unique(consumers)
        ]

    def _passes(self, position: int) -> bool:
        return position % 2 == 0 if self.interleaved else position < self.half


class _UnitV1:
    """Writes one unit of V1."""

    def __init__(self, graph: Graph, form: Form, unit: ShuffleUnit):
        self.graph = graph
        self.form = form
        self.unit = unit
        self.groups = unit.groups
        self.compress_groups = unit.groups if unit.group_compress else 1
        bottleneck = unit.compress.filters
        # Where the shuffle puts each of the first convolution's channels.
        self.shuffled = np.arange(bottleneck)
        if unit.shuffle is not None:
            self.shuffled = self.shuffled.reshape(-1, unit.shuffle.groups).T.ravel()

    def build(self, x: Wire) -> Wire:
        """Adds the unit; returns its output in the trained order."""
        unit, graph, name = self.unit, self.graph, self.unit.name
        # Behind an average of what a ReLU gave, a ReLU does nothing: it fits into the convolution.
        fused = unit.stride == 2 and unit.squeeze_excite is None
        main = self._main(x, "relu" if fused else None)
        if unit.stride == 1:
            if unit.squeeze_excite is not None:
                main = self._squeeze_excite(main, None)
            return graph.simple("add", [x, main], f"{name}_add", activation="relu")
        shortcut, padding = _pad(graph, x, f"{name}_shortcut_pool_pad", unit.shortcut_pool)
        shortcut = self._average(shortcut, f"{name}_shortcut_pool", padding)
        main = Wire(main.op, main.order + shortcut.channels)
        joined = graph.concat([shortcut, main], f"{name}_join", self.form.most_concatenated)
        return joined if fused else self._squeeze_excite(joined, "relu")

    def _average(self, x: Wire, name: str, padding: str) -> Wire:
        if self.form.average_pool == "depthwise":
            return self.graph.depthwise_average(x, name, padding)
        return self.graph.pool(x, name, "average_pool", padding)

    def _main(self, x: Wire, activation: str | None) -> Wire:
        compress = reader.fold(self.unit.compress, self.unit.compress_bn)
        expand = reader.fold(self.unit.expand, self.unit.expand_bn)
        if self.form.grouped == "split" and self.groups > 1:
            return self._split(x, compress, expand, activation)
        form = "straight" if self.unit.shuffle is None else self.form.shuffle_for(self.groups)
        if form != "straight" and self.compress_groups == 1:
            # An ungrouped convolution writes any order: nothing is left to shuffle.
            form = "dense_compress"
        name, groups = self.unit.name, self.compress_groups
        if form == "dense_compress":
            compress, groups = Folded(dense_kernel(compress.kernel, groups), compress.bias), 1
        order = np.argsort(self.shuffled) if form == "dense_compress" else None
        x = self.graph.conv(
            x, f"{name}_compress", compress, groups=groups, activation="relu", order=order
        )
        # From here on channels go by their number behind the shuffle.
        x = self._depthwise(Wire(x.op, self.shuffled[x.order]), "")
        groups = self.groups
        if form == "transpose":
            x = self.graph.transpose(x, f"{name}_shuffle", self.unit.shuffle.groups)
        elif form == "dense_expand":
            expand, groups = Folded(dense_kernel(expand.kernel, groups), expand.bias), 1
        return self.graph.conv(x, f"{name}_expand", expand, groups=groups, activation=activation)

    def _split(self, x: Wire, compress: Folded, expand: Folded, activation: str | None) -> Wire:
        """Adds one chain of convolutions for each group of the second convolution.

        The first convolution is cut into one for each pair of groups, so that each chain's input
        is a plain concatenation: the shuffle is gone.
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
                    parts.append(Wire(part.op, self.shuffled[order]))
            name = f"{self.unit.name}_chain{group}"
            chain = self.graph.concat(parts, name, self.form.most_concatenated)
            chain = self._depthwise(chain, str(group))
            chain = Wire(chain.op, chain.order - group * per_group)
            outputs.append(self._expand_group(chain, expand, group, activation))
        return self.graph.concat(outputs, f"{self.unit.name}_expand", self.form.most_concatenated)

    def _split_input(self, x: Wire) -> list[Wire]:
        """Returns the input's groups as slices, or the whole where the convolution has one."""
        if self.compress_groups == 1:
            return [x]
        size = x.channels // self.groups
        slices = []
        for group in range(self.groups):
            name = f"{self.unit.name}_group{group}"
            wire = self.graph.slice(x, name, group * size, (group + 1) * size)
            slices.append(Wire(wire.op, np.arange(size)))
        return slices

    def _expand_group(self, x: Wire, expand: Folded, group: int, activation: str | None) -> Wire:
        size = expand.kernel.shape[-1] // self.groups
        order = np.arange(group * size, (group + 1) * size)
        name = f"{self.unit.name}_expand{group}"
        return self.graph.conv(x, name, expand, activation=activation, order=order)

    def _depthwise(self, x: Wire, suffix: str) -> Wire:
        unit, name = self.unit, self.unit.name
        x, padding = _pad(self.graph, x, f"{name}_depthwise_pad{suffix}", unit.depthwise)
        folded = reader.fold(unit.depthwise, unit.depthwise_bn)
        return self.graph.depthwise(x, f"{name}_depthwise{suffix}", folded, unit.stride, padding)

    def _squeeze_excite(self, x: Wire, activation: str | None) -> Wire:
        name, layer = f"{self.unit.name}_se", self.unit.squeeze_excite
        gate = self.graph.simple("mean", [x], f"{name}_mean", keepdims=True)
        folded = reader.plain(layer.reduce)
        gate = self.graph.conv(gate, f"{name}_reduce", folded, activation="relu")
        gate = self.graph.conv(gate, f"{name}_expand", reader.plain(layer.expand))
        gate = self.graph.simple("sigmoid", [gate], f"{name}_gate")
        return self.graph.simple("multiply", [x, gate], f"{name}_scale", activation=activation)
