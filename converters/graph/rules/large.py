"""The units of the large ShuffleNets, whose residual connections keep their shuffle.

A unit adds its input to its output, so that both must have one order, and the next unit takes half
of each: no order serves all units of a stage. The shuffle stays one operator a unit, which takes
little of the time of their grouped 3x3 convolutions.
"""

from collections.abc import Sequence

from converters.graph.rules.registry import Call, apply_rules, rules
from keras_shufflenet import ShuffleUnitV2ExLarge, ShuffleUnitV2Large, permutations
from keras_shufflenet.permutations import PermutedTensor


@rules(ShuffleUnitV2Large, ShuffleUnitV2ExLarge)
def _unit(call: Call) -> PermutedTensor:
    unit = call.layer
    x = call.graph.in_order(call.x, f"{call.name}_order")
    passed, entering = _even_and_odd(call, x) if unit.split is not None else (x, x)

    def add(inputs: Sequence[PermutedTensor], layers: Sequence) -> PermutedTensor:
        return apply_rules(call.graph, call.lowering, inputs, layers, call.name)

    shortcut = add([passed], unit.shortcut())
    main = add([entering], unit.main_path())
    if unit.residual():
        main = add([entering, main], unit.residual())
    return add([shortcut, main], unit.merge())


def _even_and_odd(call: Call, x: PermutedTensor) -> list[PermutedTensor]:
    """Returns the even and the odd channels, each numbered from 0."""
    graph, name, half = call.graph, call.name, x.channels // 2
    if call.lowering.default_shuffle == "transpose":
        x = graph.transpose(x, f"{name}_shuffle", half)
    else:
        x = graph.in_order(x, f"{name}_shuffle", permutations.shuffle(x.channels, half))
    pieces = []
    for part, start in (("even", 0), ("odd", half)):
        piece = graph.slice(x, f"{name}_{part}", start, start + half)
        pieces.append(piece.renumbered(permutations.inverse(piece.order, x.channels)))
    return pieces
