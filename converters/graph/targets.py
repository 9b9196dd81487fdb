"""The lowering of each target: with which operators its deployment graph is written, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

_CHOICES = {
    "grouped": ("group", "split"),
    "default_shuffle": ("transpose", "dense_compress", "dense_expand", "split"),
    "average_pool": ("pool", "depthwise"),
}


@dataclass(frozen=True)
class Lowering:
    """The operators that a target runs fastest, or at all.

    Attributes:
      most_concatenated: inputs of one concatenation; more are nested.
      producers: convolutions that a convolution is cut into where its output's channels go to
        several units; what then remains together is cut by slices.
      grouped: V1's grouped convolutions: "group" as one operator, "split" as one a group.
      shuffle: V1's shuffle, which lies between two grouped convolutions, by the number of groups:
        "transpose" after the depthwise convolution, "dense_compress" or "dense_expand" by making
        the first or second convolution ungrouped, which then absorbs the order, "split" by
        cutting the first convolution into one for each pair of groups.
      average_pool: V1's average pool of stride 2: "pool" as the operator of that name,
        "depthwise" as a depthwise convolution with constant weights and, where the padding is
        "same", a product that corrects the edges.

    Raises:
      ValueError: a field is none of its choices.
    """

    most_concatenated: int
    producers: int
    grouped: str
    shuffle: Mapping[int, str] = field(default_factory=dict)
    default_shuffle: str = "transpose"
    average_pool: str = "pool"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value!r}")

    def shuffle_for(self, groups: int) -> str:
        """Returns how a shuffle of `groups` groups is written."""
        return self.shuffle.get(groups, self.default_shuffle)


# No limit: an int that no network's number of concatenated tensors reaches.
UNLIMITED = 1 << 16

# Measured by benchmarks/latency.py and benchmarks/micro_and_npu.py (docs/benchmarks.md).
LOWERINGS = {
    # Beyond 5 inputs a concatenation leaves XNNPACK, and the graph falls into pieces; so does an
    # int8 average pool.
    "cpu": Lowering(most_concatenated=5, producers=4, grouped="group", average_pool="depthwise"),
    "micro": Lowering(most_concatenated=UNLIMITED, producers=1, grouped="group"),
    # Grouped convolutions are not among the Edge TPU's documented operators.
    "edgetpu": Lowering(
        most_concatenated=UNLIMITED, producers=1, grouped="split", default_shuffle="split"
    ),
    # A slice costs Ethos-U a pass over memory, a convolution cut in pieces next to nothing.
    "ethosu": Lowering(
        most_concatenated=UNLIMITED, producers=UNLIMITED, grouped="split", default_shuffle="split"
    ),
}
