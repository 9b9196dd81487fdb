"""Makes TFLite Micro's own tables and the file smaller; no value that is computed changes.

TFLite Micro keeps a structure for every operator and every tensor, about 250 bytes for a
STRIDED_SLICE. Files have names that it does not read.
"""

from collections import defaultdict

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.micro_target.flat_graph import CODE, FlatGraph


def shrink_tables(graph: FlatGraph) -> None:
    """Rewrites a file, in place, with fewer operators and tensors.

    The slices of one tensor become a split; the reshape, transpose and reshape of a channel
    shuffle become a gather.
    """
    graph.operators = [_plain_slice(graph, operator) for operator in graph.operators]
    _split(graph)
    _gather(graph)
    _share_constants(graph)


def strip_names(graph: FlatGraph) -> None:
    """Removes the names of tensors, signatures and the graph, in place; runtimes need none."""
    for tensor in graph.tensors:
        tensor.name = None
    graph.model.signatureDefs = None
    graph.model.description = None
    graph.model.subgraphs[0].name = None


def _plain_slice(graph: FlatGraph, operator: schema.OperatorT) -> schema.OperatorT:
    """Returns a SLICE for a STRIDED_SLICE that takes neighbours; it needs fewer constants."""
    if graph.code(operator) != CODE.STRIDED_SLICE:
        return operator
    source, target = int(operator.inputs[0]), int(operator.outputs[0])
    begin, _, strides = (graph.values(int(tensor)) for tensor in operator.inputs[1:4])
    options, shape = operator.builtinOptions, graph.shape(target)
    masks = (options.ellipsisMask, options.newAxisMask, options.shrinkAxisMask)
    if any(masks) or (strides != 1).any() or len(begin) != len(shape):
        return operator
    starts = [
        0 if options.beginMask >> axis & 1 else int(start) % graph.shape(source)[axis]
        for axis, start in enumerate(begin)
    ]
    inputs = (source, graph.constant(starts), graph.constant(shape))
    return graph.new(CODE.SLICE, inputs, [target])


def _split(graph: FlatGraph) -> None:
    """Replaces the slices that a tensor is cut into, without a rest, by one SPLIT_V."""
    slices: dict[int, list[schema.OperatorT]] = defaultdict(list)
    for operator in graph.operators:
        if graph.code(operator) == CODE.SLICE:
            slices[int(operator.inputs[0])].append(operator)
    splits: dict[int, schema.OperatorT] = {}
    for source, parts in slices.items():
        split = _as_split(graph, source, parts)
        if split is not None:
            # Where the first of them was.
            splits[id(parts[0])] = split
            splits.update(dict.fromkeys(map(id, parts[1:])))
    operators = (splits.get(id(operator), operator) for operator in graph.operators)
    graph.operators = [operator for operator in operators if operator is not None]


def _as_split(
    graph: FlatGraph, source: int, parts: list[schema.OperatorT]
) -> schema.OperatorT | None:
    """Returns the SPLIT_V that makes what several slices of channels make, if there is one."""
    axis = len(graph.shape(source)) - 1
    starts = [graph.values(int(part.inputs[1])) for part in parts]
    order = np.argsort([start[axis] for start in starts])
    outputs = [int(parts[at].outputs[0]) for at in order]
    sizes = [graph.shape(output)[axis] for output in outputs]
    ends = np.cumsum([0, *sizes])
    whole = all(graph.shape(output)[:axis] == graph.shape(source)[:axis] for output in outputs)
    neighbours = [int(starts[at][axis]) for at in order] == ends[:-1].tolist()
    if len(parts) < 2 or not whole or not neighbours or ends[-1] != graph.shape(source)[axis]:
        return None
    inputs = (source, graph.constant(sizes), graph.constant(np.int32(axis)))
    return graph.new(CODE.SPLIT_V, inputs, outputs, numSplits=len(outputs))


def _gather(graph: FlatGraph) -> None:
    """Replaces each reshape, transpose and reshape that only moves channels by one GATHER."""
    makers = {int(output): each for each in graph.operators for output in each.outputs}
    uses = graph.uses()
    gone: set[int] = set()
    gathers: dict[int, schema.OperatorT] = {}
    for last in graph.operators:
        chain = [last]
        while len(chain) < 3 and int(chain[0].inputs[0]) in makers:
            chain.insert(0, makers[int(chain[0].inputs[0])])
        order = _channel_order(graph, chain)
        between = [int(operator.outputs[0]) for operator in chain[:-1]]
        if order is not None and all(uses[tensor] == 1 for tensor in between):
            inputs = (int(chain[0].inputs[0]), graph.constant(order))
            axis = len(graph.shape(inputs[0])) - 1
            gathers[id(last)] = graph.new(CODE.GATHER, inputs, last.outputs, axis=axis)
            gone.update(map(id, chain[:-1]))
    operators = [gathers.get(id(each), each) for each in graph.operators if id(each) not in gone]
    graph.operators = operators


def _channel_order(graph: FlatGraph, chain: list[schema.OperatorT]) -> np.ndarray | None:
    """Returns which channel goes where in a reshape, transpose and reshape; None if others move."""
    if [graph.code(each) for each in chain] != [CODE.RESHAPE, CODE.TRANSPOSE, CODE.RESHAPE]:
        return None
    shape = graph.shape(int(chain[0].inputs[0]))
    middle = graph.shape(int(chain[1].inputs[0]))
    axes = graph.values(int(chain[1].inputs[1])).tolist()
    kept = list(range(len(axes) - 2))
    swaps_last = axes == [*kept, len(axes) - 1, len(axes) - 2]
    if not swaps_last or middle[-2] * middle[-1] != shape[-1]:
        return None
    if graph.shape(int(chain[2].outputs[0])) != shape:
        return None
    return np.arange(shape[-1]).reshape(middle[-2:]).T.ravel()


def _share_constants(graph: FlatGraph) -> None:
    """Lets operators that have equal int32 constants, such as paddings, share one tensor."""
    for operator in graph.operators:
        tensors = [int(tensor) for tensor in operator.inputs]
        for place, tensor in enumerate(tensors):
            if tensor < 0 or graph.tensors[tensor].type != schema.TensorType.INT32:
                continue
            # A bias has a scale.
            if graph.is_constant(tensor) and not graph.has_scale(tensor):
                values = graph.values(tensor).reshape(graph.shape(tensor))
                tensors[place] = graph.constant(values)
        operator.inputs = np.int32(tensors)
