"""Walks a functional Keras 3 model, call by call, and writes each with its layer's rule."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from common.cli import UserError
from converters.graph.operations import Graph
from converters.graph.rules import (  # noqa: F401 -- they register the rules
    activations,
    convolutions,
    large,
    maps,
    merges,
    shufflenet_v1,
)
from converters.graph.rules.registry import Call, RuleError, rule_for
from converters.graph.rules.shufflenet_v2 import UNITS, add_stage
from converters.graph.targets import Lowering
from keras_shufflenet.keras_internals import CallNode, call_nodes, functional
from keras_shufflenet.permutations import PermutedTensor
from trainers.networks.classifiers import check_names

# Names that operators of our networks have had from the beginning: weights of quantization-aware
# trainings are stored by them.
_NAMES = {"stem_conv": "stem", "head_conv": "head"}


def walk(model: keras.Model, lowering: Lowering, size: int | None = None) -> Graph:
    """Returns the model's operators as its layers' rules write them, not yet simplified.

    Args:
      model: a functional or Sequential model.
      lowering: the target's operators.
      size: height and width in pixels, if the model does not fix them.

    Raises:
      UserError: see `converters.graph.deployment.deployment_graph`.
    """
    _check(model, model.name)
    check_names(model, f"model {model.name!r}")
    graph = Graph()
    tensors = []
    for index, tensor in enumerate(model.inputs):
        name = "image" if len(model.inputs) == 1 else f"input_{index}_{tensor.name}"
        tensors.append(graph.input(_input_shape(model, tensor, size), name))
    found = _Walk(graph, lowering).model(model, tensors, "")
    outputs = [graph.in_order(x, f"output_{index}_order") for index, x in enumerate(found)]
    graph.outputs = tuple(x.tensor for x in outputs)
    return graph


def _input_shape(model: keras.Model, tensor: Any, size: int | None) -> tuple[int, ...]:
    shape = tuple(size if extent is None else extent for extent in tensor.shape[1:])
    if None in shape or not shape:
        raise UserError(
            f"model {model.name!r} does not fix its input's size, {tuple(tensor.shape)}; name one"
        )
    return shape


def _check(model: Any, outermost: str) -> None:
    """Raises UserError unless all layers have rules and finite weights: before any work."""
    inner = functional(model)
    if inner is None:
        raise UserError(
            f"model {getattr(model, 'name', model)!r} of class {type(model).__name__} has no graph "
            "of layers: only functional and Sequential models can be rewritten; --graph=canonical "
            "converts any model"
        )
    for node in call_nodes(inner):
        layer = node.operation
        if functional(layer) is not None:
            _check(layer, outermost)
        elif rule_for(layer) is None:
            raise UserError(
                f"layer {layer.name!r} of class {type(layer).__name__}, which takes "
                f"{_shapes(node)} in model {outermost!r}, has no rule for the deployment graph; "
                "convert with --graph=canonical, or add a rule with "
                "converters.graph.register_rule (docs/deployment.md)"
            )
        elif getattr(layer, "quantization_mode", None):
            raise UserError(
                f"layer {layer.name!r} of model {outermost!r} was quantized by Keras "
                f"({layer.quantization_mode}); convert the float model, which "
                "--quantization=int8-ptq quantizes"
            )
        _check_finite(layer, outermost)


def _shapes(node: CallNode) -> str:
    return ", ".join(str(tuple(tensor.shape)) for tensor in node.inputs)


def _check_finite(layer: Any, model: str) -> None:
    for variable in getattr(layer, "weights", ()):
        values = np.asarray(keras.ops.convert_to_numpy(variable))
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise UserError(
                f"weight {variable.path!r} of model {model!r} has NaN or infinite values; train "
                "it again"
            )


class _Walk:
    """Writes a model, and the models inside of it, into one graph."""

    def __init__(self, graph: Graph, lowering: Lowering):
        self.graph = graph
        self.lowering = lowering
        # How often a name has been used: a layer may be called several times.
        self.calls: Counter[str] = Counter()

    def model(
        self, model: Any, inputs: Sequence[PermutedTensor], prefix: str
    ) -> list[PermutedTensor]:
        """Adds all layers of a model; returns its outputs."""
        model = functional(model)
        tensors = {id(tensor): x for tensor, x in zip(model.inputs, inputs, strict=True)}
        for units in _stages(model):
            outputs = self._write(units, tensors, prefix)
            for tensor, x in zip(units[-1].outputs, outputs, strict=True):
                tensors[id(tensor)] = x
        return [tensors[id(tensor)] for tensor in model.outputs]

    def _write(
        self, nodes: Sequence[CallNode], tensors: dict[int, PermutedTensor], prefix: str
    ) -> list[PermutedTensor]:
        names = [self._name(node.operation, prefix) for node in nodes]
        inputs = [tensors[id(tensor)] for tensor in nodes[0].inputs]
        layer = nodes[0].operation
        before = len(self.graph.ops)
        if functional(layer) is not None:
            outputs = self.model(layer, inputs, f"{names[0]}_")
        elif len(nodes) > 1:
            units = [node.operation for node in nodes]
            outputs = add_stage(self.graph, self.lowering, *inputs, units, names)
        else:
            outputs = self._apply(nodes[0], names[0], inputs, tensors)
        self._share(prefix, nodes[0].operation, names[0], before)
        self._note_layers(nodes, names, before)
        return outputs if isinstance(outputs, list) else [outputs]

    def _apply(
        self,
        node: CallNode,
        name: str,
        inputs: list[PermutedTensor],
        tensors: dict[int, PermutedTensor],
    ) -> PermutedTensor | list[PermutedTensor]:
        layer = node.operation
        arguments = [tensors.get(id(value), value) for value in node.arguments]
        call = Call(self.graph, self.lowering, layer, name, inputs, arguments)
        try:
            return rule_for(layer)(call)
        except RuleError as error:
            raise UserError(
                f"layer {layer.name!r} of class {type(layer).__name__} cannot be rewritten: "
                f"{error}; --graph=canonical converts any model"
            ) from error

    def _name(self, layer: Any, prefix: str) -> str:
        name = f"{prefix}{_NAMES.get(layer.name, layer.name)}"
        self.calls[name] += 1
        return name if self.calls[name] == 1 else f"{name}_call{self.calls[name]}"

    def _share(self, prefix: str, layer: Any, name: str, before: int) -> None:
        """Notes for every operator of a layer's second call which one of its first is the same."""
        first = f"{prefix}{_NAMES.get(layer.name, layer.name)}"
        if name == first:
            return
        for op in list(self.graph.ops.values())[before:]:
            self.graph.note_twin(op.name, op.name.replace(name, first, 1))

    def _note_layers(self, nodes: Sequence[CallNode], names: Sequence[str], before: int) -> None:
        """Notes of every new operator its layer; in a stage, the unit that its name begins with."""
        units = {f"{name}_": node.operation.name for name, node in zip(names, nodes, strict=True)}
        last = nodes[-1].operation.name
        for name in list(self.graph.ops)[before:]:
            layer = next((unit for start, unit in units.items() if name.startswith(start)), last)
            self.graph.note_layer(name, layer)


def _stages(model: Any) -> list[list[CallNode]]:
    """Returns the calls that are written together: the units of a stage, else one by one."""
    nodes = call_nodes(model)
    takers: dict[int, list[CallNode]] = {}
    for node in nodes:
        for tensor in node.inputs:
            takers.setdefault(id(tensor), []).append(node)
    for tensor in model.outputs:
        takers.setdefault(id(tensor), []).append(None)  # The caller takes it, too.
    stages, written = [], set()
    for node in nodes:
        if id(node.outputs[0]) in written:
            continue
        stages.append([node, *_followers(node, takers)])
        written.update(id(unit.outputs[0]) for unit in stages[-1])
    return stages


def _followers(node: CallNode, takers: dict[int, list[CallNode]]) -> Iterator[CallNode]:
    """Yields the units of stride 1 after one of stride 2, if nothing else takes their input."""
    if not isinstance(node.operation, UNITS) or node.operation.stride != 2:
        return
    unit_class = type(node.operation)
    while len(after := takers[id(node.outputs[0])]) == 1 and after[0] is not None:
        (node,) = after
        if type(node.operation) is not unit_class or node.operation.stride != 1:
            return
        yield node
