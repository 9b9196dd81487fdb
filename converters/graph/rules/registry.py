"""The rules by class of layer; a user can add some."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from converters.graph.operations import Graph
from converters.graph.targets import Lowering
from keras_shufflenet.permutations import PermutedTensor


@dataclass(frozen=True)
class Call:
    """One call of a layer in the model: what a rule writes into the graph.

    Attributes:
      graph: the deployment graph; its methods add operators.
      lowering: the target's operators.
      layer: the layer, with its weights.
      name: the layer's name, or another if it is called several times; every operator that the
        rule adds must have it, or a name that begins with it.
      inputs: the tensors that the layer is called with.
      arguments: all that it is called with, in order, where it is an operation such as `x + 1`.
    """

    graph: Graph
    lowering: Lowering
    layer: Any
    name: str
    inputs: Sequence[PermutedTensor]
    arguments: Sequence[Any] = field(default=())

    @property
    def x(self) -> PermutedTensor:
        """The only, or first, input."""
        return self.inputs[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first input, without the batch."""
        return self.graph.shape(self.x)


Rule = Callable[[Call], PermutedTensor | list[PermutedTensor]]
_RULES: dict[type, Rule] = {}


class RuleError(ValueError):
    """A layer has settings that its rule does not support; the message says which."""


def check_channels_last(layer: Any) -> None:
    """Raises RuleError if a layer takes maps as (channels, height, width)."""
    if layer.data_format != "channels_last":
        raise RuleError("data_format='channels_first': build the model with channels last")


def register_rule(layer_class: type, rule: Rule) -> None:
    """Makes the deployment graph take a class of layers.

    Args:
      layer_class: the class itself; classes derived from it need a rule of their own, because
        they may compute something else.
      rule: takes a `Call`, adds operators to `call.graph` and returns the output, or a list of
        outputs. It raises `RuleError` for settings that it does not support.

    Raises:
      TypeError: `layer_class` is not a class.

    Examples:
      >>> def twice(call):
      ...     return call.graph.affine(call.x, call.name, scale=2, shift=0)
      >>> register_rule(Twice, twice)
    """
    if not isinstance(layer_class, type):
        raise TypeError(f"`layer_class` must be a class. Received: {layer_class!r}")
    _RULES[layer_class] = rule


def rule_for(layer: Any) -> Rule | None:
    """Returns the rule of a layer's class, or None."""
    return _RULES.get(type(layer))


def apply_rules(
    graph: Graph,
    lowering: Lowering,
    inputs: Sequence[PermutedTensor],
    layers: Sequence[Any],
    name: str,
) -> PermutedTensor:
    """Adds layers one after the other, each with its rule; the first takes `inputs`.

    Args:
      name: the beginning of their operators' names.
    """
    for layer in layers:
        call = Call(graph, lowering, layer, f"{name}_{layer.name}", inputs)
        inputs = [_RULES[type(layer)](call)]
    (x,) = inputs
    return x


def rules(*layer_classes: type) -> Callable[[Rule], Rule]:
    """A decorator that registers a function as the rule of these classes."""

    def decorate(rule: Rule) -> Rule:
        for layer_class in layer_classes:
            register_rule(layer_class, rule)
        return rule

    return decorate
