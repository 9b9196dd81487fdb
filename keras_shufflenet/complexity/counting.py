"""Counts what a network costs: multiply-adds, parameters, activation bytes, memory access cost.

The counts come from the built model, including the layers inside its units: there is no second
formula of a network.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_shufflenet.keras_internals import CallNode, call_nodes, functional
from keras_shufflenet.layers import CompositeLayer, InnerLayer, check_positive_int

# What the papers count: not the sums of pools, additions and normalizations.
MULTIPLYING = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)


@dataclasses.dataclass(frozen=True)
class LayerComplexity:
    """The cost of one layer for one image.

    Attributes:
      name: the layer's name after its unit's: "stage2_unit1/depthwise".
      kind: the layer's class.
      output_shape: without the batch; of the first output if there are several.
      macs: multiply-adds of convolutions and dense layers (the papers' FLOPs), 0 for others.
      parameters: including gamma and beta, without BatchNormalization's moving statistics.
      activation_bytes: bytes of all outputs.
      memory_access_cost: of convolutions and dense layers, in values: hw(c1 + c2) + c1c2/g for
        1x1 (V2 paper, section 2, G1 and G2), in general input + output + kernel; 0 for others.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    macs: int
    parameters: int
    activation_bytes: int
    memory_access_cost: int


@dataclasses.dataclass(frozen=True)
class Complexity:
    """The cost of a network for one image: its layers in the order of execution, and the totals.

    Attributes:
      model: the model's name.
      rows: one per layer.
    """

    model: str
    rows: tuple[LayerComplexity, ...]

    @property
    def macs(self) -> int:
        """Multiply-adds of all layers."""
        return sum(row.macs for row in self.rows)

    @property
    def parameters(self) -> int:
        """Parameters of all layers."""
        return sum(row.parameters for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """Bytes of all layers' outputs, if no two of them share memory."""
        return sum(row.activation_bytes for row in self.rows)

    @property
    def memory_access_cost(self) -> int:
        """Values that all convolutions and dense layers read and write."""
        return sum(row.memory_access_cost for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as numbers, strings and lists: what `--format=json` prints."""
        totals = {name: getattr(self, name) for name in _NUMBERS}
        return {"model": self.model, "total": totals, "layers": [vars(row) for row in self.rows]}

    def to_table(self, layers: bool = True) -> str:
        """Returns an aligned table of the layers (or none of them) with the totals at the end."""
        header = ["layer", "kind", "output", *(name.replace("_", " ") for name in _NUMBERS)]
        lines = [header]
        for row in self.rows if layers else ():
            shape = "x".join(str(size) for size in row.output_shape)
            lines.append([row.name, row.kind, shape, *_formatted_numbers(row)])
        lines.append(["total", "", "", *_formatted_numbers(self)])
        return _aligned(lines, left_columns=3)


_NUMBERS = ("macs", "parameters", "activation_bytes", "memory_access_cost")


def complexity(model: keras.Model, bytes_per_value: int = 4) -> Complexity:
    """Counts a functional model of this package, or one built around it.

    Args:
      model: a model with known height and width.
      bytes_per_value: bytes of an activation: 4 for float32, 1 for int8.

    Returns:
      A `Complexity`: every layer and the totals, for one image.

    Raises:
      ValueError: the model is not functional, its size is unknown, or it has a layer with
        matrices of a class that is not counted here.

    Examples:
      >>> complexity(keras_shufflenet.ShuffleNetV2(scale=1.0)).macs
      144907992
    """
    check_positive_int("bytes_per_value", bytes_per_value)
    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        raise ValueError(f"`model` must be a functional keras.Model. Received: model={model!r}")
    rows, seen = [], set()
    for path, inner in _walk_model(model, ""):
        row = _layer_complexity(path, inner, bytes_per_value)
        # A layer that is called again has no more parameters.
        rows.append(dataclasses.replace(row, parameters=0) if id(inner.layer) in seen else row)
        seen.add(id(inner.layer))
    return Complexity(model.name, tuple(rows))


def _walk_model(model: keras.Model, prefix: str) -> Iterator[tuple[str, InnerLayer]]:
    """Yields the path and shapes of every layer of a model, and of the models inside it."""
    calls: dict[int, list[CallNode]] = {}
    for node in call_nodes(functional(model) or model):
        calls.setdefault(id(node.operation), []).append(node)
    for layer in model.layers:
        for number, node in enumerate(calls.get(id(layer), ()), 1):
            path = prefix + layer.name + (f"_call{number}" if number > 1 else "")
            if isinstance(layer, keras.Model):
                yield from _walk_model(layer, f"{path}/")
            else:
                inner = InnerLayer(layer, _shapes(node.inputs), _shapes(node.outputs))
                yield from _walk_layer(inner, path)


def _walk_layer(inner: InnerLayer, path: str) -> Iterator[tuple[str, InnerLayer]]:
    """Yields the path and shapes of a layer, or of the layers inside it."""
    if not isinstance(inner.layer, CompositeLayer):
        yield path, inner
        return
    for part in inner.layer.inner_layers(inner.input_shape):
        yield from _walk_layer(part, f"{path}/{part.layer.name}")


def _shapes(tensors: Sequence[Any]) -> Any:
    """Returns the shape of the only tensor, or those of several."""
    shapes = [tuple(tensor.shape) for tensor in tensors]
    return shapes[0] if len(shapes) == 1 else shapes


def _layer_complexity(path: str, inner: InnerLayer, bytes_per_value: int) -> LayerComplexity:
    layer, input_shape, output_shape = inner
    inputs, outputs = _elements(path, input_shape), _elements(path, output_shape)
    first_output = output_shape[0] if isinstance(output_shape, list) else output_shape
    macs = memory_access_cost = 0
    if isinstance(layer, MULTIPLYING):
        # A kernel is (..., input channels per group, output channels), so its size is already
        # divided by the groups; it is applied once at each position of the output.
        kernel = math.prod(layer.kernel.shape)
        macs = math.prod(first_output[1:-1]) * kernel
        memory_access_cost = inputs + outputs + kernel
    elif any(len(weight.shape) > 1 for weight in layer.weights):
        raise ValueError(
            f"`model` has a layer whose multiply-adds are not counted here: {path!r}, "
            f"a {type(layer).__name__}"
        )
    return LayerComplexity(
        name=path,
        kind=type(layer).__name__,
        output_shape=first_output[1:],
        macs=macs,
        # Not `trainable_weights`: a frozen layer has the same parameters.
        parameters=sum(math.prod(weight.shape) for weight in _parameters(layer)),
        activation_bytes=outputs * bytes_per_value,
        memory_access_cost=memory_access_cost,
    )


def _parameters(layer: keras.layers.Layer) -> list[Any]:
    """Returns the weights without BatchNormalization's moving statistics and other state."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return [weight for weight in (layer.gamma, layer.beta) if weight is not None]
    return layer.weights if isinstance(layer, MULTIPLYING) else layer.trainable_weights


def _elements(path: str, shape: Any) -> int:
    """Returns the number of values of one image's tensor, or of a list of them."""
    if isinstance(shape, list):
        return sum(_elements(path, one) for one in shape)
    if None in shape[1:]:
        raise ValueError(
            f"`model` must have a known height and width; {path!r} has the shape {shape}"
        )
    return math.prod(shape[1:])


def _formatted_numbers(costs: Any) -> list[str]:
    return [f"{getattr(costs, name):,}" for name in _NUMBERS]


def _aligned(lines: list[list[str]], left_columns: int) -> str:
    """Returns lines of cells as text, the first columns aligned left and the others right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
