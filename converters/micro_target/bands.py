"""Computes the beginning of a network in horizontal bands, so that no large map is ever whole.

The rewritten file has the same weights, once, and the same int8 scales; its outputs are those of
the file before, bit for bit. Neighbouring bands compute the rows that both need twice.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.graph.shapes import window_extent
from converters.micro_target.costs import CONVOLUTIONS, live_bytes, row_macs
from converters.micro_target.flat_graph import CODE, FlatGraph
from converters.micro_target.rows import NoBandsError, Request, Rows, Window, plan_step

# TFLite Micro refuses concatenations of more inputs.
MOST_CONCATENATED = 10
# The axes of [batch, height, width, channels].
_ROWS, _CHANNELS = 1, 3
_POOLS = {CODE.MAX_POOL_2D, CODE.AVERAGE_POOL_2D}
# Operators that compute a row from the same row of their inputs.
_SAME_ROWS = {
    *(CODE.ADD, CODE.SUB, CODE.MUL, CODE.MAXIMUM, CODE.MINIMUM, CODE.QUANTIZE, CODE.SPLIT_V),
    *(CODE.RELU, CODE.RELU6, CODE.LEAKY_RELU, CODE.HARD_SWISH, CODE.LOGISTIC, CODE.TANH),
}
_NAMES = {code: name for name, code in vars(CODE).items() if isinstance(code, int)}
# How close to the best the search for the bands' heights comes, bytes.
_TOLERANCE = 128


class Bands(NamedTuple):
    """How the beginning of a network is computed.

    Attributes:
      height: rows of the maps at which the bands end; every operator of larger maps is in them.
      stops: the last row of every band in those maps, exclusive; an empty tuple is no bands.
    """

    height: int = 0
    stops: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Plan:
    """What a band computes: by operator, the rows that it is given and those that it makes."""

    given: dict[int, Rows]
    made: dict[int, Rows]


class Region:
    """The operators that make all maps of a file down to some height, and where they end.

    Args:
      graph: the file.
      height: rows of the smallest maps that are made in bands.

    Raises:
      NoBandsError: an operator among them cannot be computed row by row, or they end in maps of
        several heights.
    """

    def __init__(self, graph: FlatGraph, height: int):
        self.graph = graph
        self.height = height
        self.leading = _leading(graph)
        self.sources = [
            *graph.inputs,
            *(int(tensor) for at in self.leading for tensor in graph.operators[at].outputs),
        ]
        self.members = _members(graph, height, self.sources)
        self.made_here = {int(t) for at in self.members for t in graph.operators[at].outputs}
        self.ends = self._ends()
        if not self.ends or {graph.shape(end)[_ROWS] for end in self.ends} != {height}:
            raise NoBandsError(f"the maps above {height} rows do not end there together")

    def _ends(self) -> list[int]:
        outside = set(self.graph.outputs)
        for at, operator in enumerate(self.graph.operators):
            if at not in self.members:
                outside.update(self.graph.computed(operator))
        return sorted(self.made_here & outside)

    @cached_property
    def row_bytes(self) -> int:
        """The bytes of one row of all maps in which the region ends."""
        return sum(self.graph.size(end) // self.height for end in self.ends)

    @cached_property
    def source_bytes(self) -> int:
        """The bytes of the maps that the region reads."""
        members = (self.graph.operators[at] for at in self.members)
        read = {tensor for operator in members for tensor in self.graph.computed(operator)}
        return sum(self.graph.size(tensor) for tensor in read.intersection(self.sources))

    @cache  # noqa: B019 -- a region is short-lived
    def plan(self, rows: Rows) -> _Plan:
        """Returns which rows each operator computes for some rows of the ends."""
        requests = {end: Request(rows, rows) for end in self.ends}
        plan = _Plan({}, {})
        for at in reversed(self.members):
            operator = self.graph.operators[at]
            wanted = [requests[int(t)] for t in operator.outputs if int(t) in requests]
            if not wanted:
                raise NoBandsError("a map is not used")
            request = functools.reduce(Request.merge, wanted)
            needed, plan.made[at] = _step(self.graph, operator, request)
            plan.given[at] = needed.rows
            for source in self.graph.computed(operator):
                before = requests.get(source)
                requests[source] = needed if before is None else before.merge(needed)
        return plan

    @cache  # noqa: B019
    def peak(self, rows: Rows) -> int:
        """Returns the most bytes that are needed during a band, but for earlier bands' results.

        The image is needed until the last band has read it.
        """
        operators, results = self.write(rows)
        if rows.stop == self.height:
            return max(live_bytes(self.graph, operators, results, self.sources))
        return self.source_bytes + max(live_bytes(self.graph, operators, results))

    def write(self, rows: Rows) -> tuple[list[schema.OperatorT], list[int]]:
        """Returns the operators that compute some rows of the ends, and the tensors they end in."""
        return _Writer(self, rows).write()

    def extra_macs(self, stops: Sequence[int]) -> int:
        """Returns the multiply-adds that bands take more than the whole."""
        return sum(map(self._macs, _parts(stops))) - self._macs(Rows(0, self.height))

    def _macs(self, rows: Rows) -> int:
        made = self.plan(rows).made
        return sum(row_macs(self.graph, self.graph.operators[at]) * len(made[at]) for at in made)

    def stops(self, count: int) -> tuple[int, ...]:
        """Returns where `count` bands end so that their largest peak is small.

        Later bands have fewer rows, because the results of those before them are kept.
        """
        low, high = 0, self.peak(Rows(0, self.height))
        best = (self.height,)
        while high - low > _TOLERANCE:
            cap = (low + high) // 2
            stops = self._within(cap, count)
            if stops is None:
                low = cap
            else:
                high, best = cap, stops
        return best

    def _within(self, cap: int, count: int) -> tuple[int, ...] | None:
        """Returns at most `count` bands whose tensors and earlier results fit into `cap` bytes."""
        stops: list[int] = []
        while not stops or stops[-1] < self.height:
            if len(stops) == count:
                return None
            start = stops[-1] if stops else 0
            stop = self._last_stop(start, cap - start * self.row_bytes)
            if stop == start:
                return None
            stops.append(stop)
        return tuple(stops)

    def _last_stop(self, start: int, cap: int) -> int:
        """Returns where the longest band from a row on ends that needs at most `cap` bytes."""
        if self.peak(Rows(start, self.height)) <= cap:
            return self.height
        low, high = start, self.height - 1
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.peak(Rows(start, middle)) <= cap
            low, high = (middle, high) if fits else (low, middle - 1)
        return low


def heights(graph: FlatGraph) -> list[int]:
    """Returns the heights of maps at which bands can end, the largest first.

    Raises:
      NoBandsError: there is none.
    """
    found = {
        _height(graph, int(operator.outputs[0]))
        for operator in graph.operators
        if graph.code(operator) in CONVOLUTIONS | _POOLS
    }
    result, reason = [], "it has no convolution"
    for height in sorted(found - {1}, reverse=True):
        try:
            Region(graph, height).plan(Rows(0, height))
            result.append(height)
        except NoBandsError as error:
            reason = error
    if not result:
        raise NoBandsError(reason)
    return result


def write_bands(graph: FlatGraph, bands: Bands) -> None:
    """Rewrites a file so that its beginning is computed in bands.

    Args:
      graph: the file, changed in place.
      bands: where they end.

    Raises:
      NoBandsError: the file cannot be computed in these bands.
    """
    if not bands.stops:
        return
    region = Region(graph, bands.height)
    operators, results = [graph.operators[at] for at in region.leading], []
    for rows in _parts(bands.stops):
        written, made = region.write(rows)
        operators += written
        results.append(made)
    for end, pieces in zip(region.ends, zip(*results, strict=True), strict=True):
        operators += _joined(graph, pieces, end)
    done = {*region.leading, *region.members}
    operators += [each for at, each in enumerate(graph.operators) if at not in done]
    graph.operators = operators


def _parts(stops: Sequence[int]) -> list[Rows]:
    return [Rows(start, stop) for start, stop in zip((0, *stops[:-1]), stops, strict=True)]


def _joined(graph: FlatGraph, pieces: Sequence[int], end: int) -> list[schema.OperatorT]:
    """Returns the concatenation of a map's rows; of several, if it has too many for one."""
    operators, pieces = [], list(pieces)
    while len(pieces) > MOST_CONCATENATED:
        first = pieces[:MOST_CONCATENATED]
        shape = list(graph.shape(end))
        shape[_ROWS] = sum(graph.shape(piece)[_ROWS] for piece in first)
        joined = graph.like(end, shape)
        operators.append(graph.new(CODE.CONCATENATION, first, [joined], axis=_ROWS))
        pieces = [joined, *pieces[MOST_CONCATENATED:]]
    return [*operators, graph.new(CODE.CONCATENATION, pieces, [end], axis=_ROWS)]


class _Writer:
    """Writes one band of a region."""

    def __init__(self, region: Region, rows: Rows):
        self.region = region
        self.graph = region.graph
        self.rows = rows
        self.plan = region.plan(rows)
        self.operators: list[schema.OperatorT] = []
        # The band's tensor of each map, with its rows, and parts cut out of tensors.
        self.tensors = {
            tensor: (tensor, Rows(0, _height(self.graph, tensor))) for tensor in region.sources
        }
        self.cut: dict[tuple[int, Rows], int] = {}

    def write(self) -> tuple[list[schema.OperatorT], list[int]]:
        for at in self.region.members:
            self._write(self.graph.operators[at], self.plan.given[at], self.plan.made[at])
        return self.operators, [self._part(end, self.rows) for end in self.region.ends]

    def _part(self, tensor: int, rows: Rows) -> int:
        """Returns a tensor with some rows of a map."""
        made, held = self.tensors[tensor]
        if held == rows:
            return made
        if (made, rows) not in self.cut:
            start = rows.start - held.start
            operator = self.graph.slice(made, _ROWS, start, start + len(rows))
            self.operators.append(operator)
            self.cut[made, rows] = int(operator.outputs[0])
        return self.cut[made, rows]

    def _write(self, operator: schema.OperatorT, given: Rows, made: Rows) -> None:
        graph = self.graph
        computed = set(graph.computed(operator))
        inputs = [
            self._part(int(tensor), given) if int(tensor) in computed else int(tensor)
            for tensor in operator.inputs
        ]
        outputs = []
        for tensor in map(int, operator.outputs):
            batch, _, *rest = graph.shape(tensor)
            outputs.append(graph.like(tensor, (batch, len(made), *rest)))
            self.tensors[tensor] = (outputs[-1], made)
        code = graph.code(operator)
        if code == CODE.PAD:
            inputs[1] = self._amounts(operator, made)
        elif code == CODE.SLICE:
            inputs[2] = graph.constant(graph.shape(outputs[0]))
        self.operators.append(graph.changed(operator, inputs, outputs))

    def _amounts(self, operator: schema.OperatorT, made: Rows) -> int:
        amounts = _amounts(self.graph, operator).copy()
        top, height = amounts[_ROWS][0], self.graph.shape(int(operator.inputs[0]))[_ROWS]
        amounts[_ROWS] = (max(0, top - made.start), max(0, made.stop - top - height))
        return self.graph.constant(amounts)


def _leading(graph: FlatGraph) -> list[int]:
    """Returns the operators that make int8 of uint8 images: TFLite Micro cuts no uint8 tensor."""
    return [
        at
        for at, operator in enumerate(graph.operators)
        if graph.code(operator) == CODE.QUANTIZE
        and graph.tensors[int(operator.inputs[0])].type == schema.TensorType.UINT8
    ]


def _members(graph: FlatGraph, height: int, sources: Sequence[int]) -> list[int]:
    """Returns the operators that make maps of more rows, and those that make `height` of them."""
    members, inside = [], set(sources)
    for at, operator in enumerate(graph.operators):
        given_tensors = graph.computed(operator)
        if not inside.issuperset(given_tensors) or inside.intersection(map(int, operator.outputs)):
            continue
        given = {_height(graph, tensor) for tensor in given_tensors}
        # A border of zeros makes a map larger, but belongs to what reads it.
        pads = graph.code(operator) == CODE.PAD
        made = max(given, default=0) if pads else _height(graph, int(operator.outputs[0]))
        # What only reads maps of this height comes after the bands.
        if given and made >= height and (max(given) > height or made > height):
            _check(graph, operator)
            members.append(at)
            inside.update(map(int, operator.outputs))
    return members


def _height(graph: FlatGraph, tensor: int) -> int:
    shape = graph.shape(tensor)
    return shape[_ROWS] if len(shape) == 4 else 0


def _check(graph: FlatGraph, operator: schema.OperatorT) -> None:
    """Raises NoBandsError unless an operator is computed row by row."""
    code = graph.code(operator)
    by_rows = code in CONVOLUTIONS | _POOLS
    if code in _SAME_ROWS:
        tensors = [int(tensor) for tensor in operator.inputs if tensor >= 0]
        constants = [graph.shape(tensor) for tensor in tensors if graph.is_constant(tensor)]
        # A constant for each row would have to be cut, too.
        by_rows = all(len(shape) < 4 or shape[_ROWS] == 1 for shape in constants)
    elif code == CODE.CONCATENATION:
        by_rows = operator.builtinOptions.axis in (_CHANNELS, -1)
    elif code == CODE.PAD:
        by_rows = _amounts(graph, operator)[0].sum() == 0
    elif code == CODE.SLICE:
        before, after = (graph.shape(int(t[0])) for t in (operator.inputs, operator.outputs))
        by_rows = before[:_CHANNELS] == after[:_CHANNELS]
    # A factor from another input of the network has no rows to cut.
    if not by_rows or len({_height(graph, tensor) for tensor in graph.computed(operator)}) > 1:
        raise NoBandsError(f"{_NAMES[code]} is not computed row by row")


def _amounts(graph: FlatGraph, operator: schema.OperatorT) -> np.ndarray:
    return graph.values(int(operator.inputs[1])).reshape(-1, 2)


def _step(graph: FlatGraph, operator: schema.OperatorT, request: Request) -> tuple[Request, Rows]:
    """Returns what an operator needs for a request, and the rows that it then makes."""
    code = graph.code(operator)
    height = graph.shape(int(operator.inputs[0]))[_ROWS]
    if code in CONVOLUTIONS | _POOLS:
        return plan_step(_window(graph, operator, height), request)
    if code != CODE.PAD:
        return request, request.rows
    top = int(_amounts(graph, operator)[_ROWS][0])
    rows, valid = (Rows(max(0, each.start - top), min(height, each.stop - top)) for each in request)
    if len(rows) < 1:
        raise NoBandsError("a band lies in the padding")
    return Request(rows, valid), request.rows


def _window(graph: FlatGraph, operator: schema.OperatorT, height: int) -> Window:
    options = operator.builtinOptions
    if graph.code(operator) in _POOLS:
        size = options.filterHeight
    else:
        kernel = graph.shape(int(operator.inputs[1]))[1]
        size = (kernel - 1) * options.dilationHFactor + 1
    same = options.padding == schema.Padding.SAME
    if not same and window_extent(height, size, options.strideH, "valid") < 1:
        raise NoBandsError("a window is larger than its map")
    return Window(size, options.strideH, same, height)
