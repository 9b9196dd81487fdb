"""The building blocks of V2's guidelines as networks of ten blocks, with the paper's figures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras

# V2 section 2: an input of 56x56, every block stacked ten times.
SIZE, BLOCKS = 56, 10
# The widths that the paper measured on a GPU and those that it measured on an ARM CPU.
COLUMNS = ("GPU", "CPU")
MULTIPLES = (1, 2, 4)

_LAYERS = keras.layers


@dataclass(frozen=True)
class Variant:
    """One row of a table.

    Attributes:
      label: as in the paper.
      arguments: of the guideline's block by column, at x1.
      speeds: the paper's, by column, at x1, x2 and x4: batches/s (GPU), images/s (ARM).
    """

    label: str
    arguments: Mapping[str, tuple]
    speeds: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Claim:
    """What a guideline says: `slow` takes longer than `fast` at equal multiply-adds."""

    text: str
    slow: str
    fast: str


@dataclass(frozen=True)
class Guideline:
    """One of V2's four tables.

    Attributes:
      name: G1 to G4.
      text: what it says.
      table: of the paper.
      block: adds the block to a tensor; its first `widths` arguments are numbers of channels.
      widths: how many of the arguments are multiplied at x2 and x4.
      variants: the rows.
      claims: which rows are compared.
      note: where our blocks must differ from the paper's.
    """

    name: str
    text: str
    table: str
    block: Callable
    widths: int
    variants: tuple[Variant, ...]
    claims: tuple[Claim, ...]
    note: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose widths differ: G4's widths are the same in both, and measured once."""
        gpu, cpu = ([v.arguments[column] for v in self.variants] for column in COLUMNS)
        return COLUMNS[:1] if gpu == cpu else COLUMNS

    def variant(self, label: str) -> Variant:
        """Returns the row with this label."""
        return next(variant for variant in self.variants if variant.label == label)

    def build(self, label: str, column: str, multiple: int = 1) -> keras.Model:
        """Returns ten blocks of a row; a mean over the image after them makes it a classifier.

        Examples:
          >>> GUIDELINES["G1"].build("1:12", "GPU").input_shape
          (None, 56, 56, 36)
        """
        arguments = self.variant(label).arguments[column]
        scaled = [value * multiple for value in arguments[: self.widths]]
        image = keras.Input((SIZE, SIZE, scaled[0]))
        x = image
        for _ in range(BLOCKS):
            x = self.block(x, *scaled, *arguments[self.widths :])
        return keras.Model(image, _LAYERS.GlobalAveragePooling2D()(x))


def _pointwise(x: keras.KerasTensor, channels: int, groups: int = 1) -> keras.KerasTensor:
    return _LAYERS.Conv2D(channels, 1, groups=groups)(x)


def _unequal(x: keras.KerasTensor, first: int, second: int) -> keras.KerasTensor:
    return _pointwise(_pointwise(x, second), first)


def _fragments(
    x: keras.KerasTensor, channels: int, count: int, parallel: bool
) -> keras.KerasTensor:
    if parallel:
        return _LAYERS.Add()([_pointwise(x, channels) for _ in range(count)])
    for _ in range(count):
        x = _pointwise(x, channels)
    return x


def _bottleneck(
    x: keras.KerasTensor, channels: int, relu: bool, shortcut: bool
) -> keras.KerasTensor:
    activate = _LAYERS.ReLU if relu else _LAYERS.Identity
    inner = channels // 4
    y = activate()(_pointwise(x, inner))
    y = activate()(_LAYERS.Conv2D(inner, 3, padding="same")(y))
    y = _pointwise(y, channels)
    return activate()(_LAYERS.Add()([x, y]) if shortcut else y)


def _row(label: str, gpu: tuple, cpu: tuple, gpu_speeds: tuple, cpu_speeds: tuple) -> Variant:
    return Variant(label, {"GPU": gpu, "CPU": cpu}, {"GPU": gpu_speeds, "CPU": cpu_speeds})


def _bottleneck_row(
    label: str, relu: bool, shortcut: bool, gpu_speeds: tuple, cpu_speeds: tuple
) -> Variant:
    both = (32, relu, shortcut)
    return _row(label, both, both, gpu_speeds, cpu_speeds)


_ALL = (
    Guideline(
        "G1",
        "Equal channel width minimizes memory access cost",
        "V2 Table 1",
        _unequal,
        2,
        # c1:c2, then (c1, c2).
        (
            _row("1:1", (128, 128), (32, 32), (1480, 723, 232), (76.2, 21.7, 5.3)),
            _row("1:2", (90, 180), (22, 44), (1296, 586, 206), (72.9, 20.5, 5.1)),
            _row("1:6", (52, 312), (13, 78), (876, 489, 189), (69.1, 17.9, 4.6)),
            _row("1:12", (36, 432), (9, 108), (748, 392, 163), (57.6, 15.1, 4.4)),
        ),
        (Claim("widths of 1:12 take longer than equal ones", "1:12", "1:1"),),
    ),
    Guideline(
        "G2",
        "Excessive group convolution increases memory access cost",
        "V2 Table 2",
        _pointwise,
        1,
        # g, then (c, g).
        (
            _row("g=1", (128, 1), (64, 1), (2451, 1289, 437), (40.0, 10.2, 2.3)),
            _row("g=2", (180, 2), (90, 2), (1725, 873, 341), (35.0, 9.5, 2.2)),
            _row("g=4", (256, 4), (128, 4), (1026, 644, 338), (32.9, 8.7, 2.1)),
            _row("g=8", (360, 8), (184, 8), (634, 445, 230), (27.8, 7.5, 1.8)),
        ),
        (Claim("8 groups take longer than none", "g=8", "g=1"),),
        "The paper's 180 channels cannot be cut into 8 groups: 184 for the CPU's widths.",
    ),
    Guideline(
        "G3",
        "Network fragmentation reduces degree of parallelism",
        "V2 Table 3",
        _fragments,
        1,
        # Fragments, then (channels, fragments, parallel).
        (
            _row("1", (128, 1, False), (64, 1, False), (2446, 1274, 434), (40.2, 10.1, 2.3)),
            _row("2 series", (90, 2, False), (45, 2, False), (1790, 909, 336), (38.6, 10.1, 2.2)),
            _row("4 series", (64, 4, False), (32, 4, False), (752, 745, 349), (38.4, 10.1, 2.3)),
            _row("2 parallel", (90, 2, True), (45, 2, True), (1537, 803, 320), (33.4, 9.1, 2.2)),
            _row("4 parallel", (64, 4, True), (32, 4, True), (691, 572, 292), (35.0, 8.4, 2.1)),
        ),
        (
            Claim("4 fragments in series take longer than 1", "4 series", "1"),
            Claim("4 parallel fragments take longer than 1", "4 parallel", "1"),
        ),
        "The paper names the widths of one fragment only; the others follow from equal "
        "multiply-adds. Parallel fragments are added up.",
    ),
    Guideline(
        "G4",
        "Element-wise operations are non-negligible",
        "V2 Table 4",
        _bottleneck,
        1,
        # What the bottleneck unit has.
        (
            _bottleneck_row("ReLU, shortcut", True, True, (2427, 2066, 1436), (56.7, 16.9, 5.0)),
            _bottleneck_row("ReLU", True, False, (2647, 2256, 1735), (61.9, 18.8, 5.2)),
            _bottleneck_row("shortcut", False, True, (2672, 2121, 1458), (57.3, 18.2, 5.1)),
            _bottleneck_row("neither", False, False, (2842, 2376, 1782), (66.3, 20.2, 5.4)),
        ),
        (
            Claim("ReLUs cost time", "ReLU", "neither"),
            Claim("shortcuts cost time", "shortcut", "neither"),
            Claim("both cost time", "ReLU, shortcut", "neither"),
        ),
    ),
)
GUIDELINES = {guideline.name: guideline for guideline in _ALL}
