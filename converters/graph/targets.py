"""The lowering of each target: the operators that its deployment graph is written with, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

_CHOICES = {
    "grouped": ("group", "split"),
    "default_shuffle": ("transpose", "dense_compress", "dense_expand", "split"),
    "average_pool": ("pool", "depthwise"),
}


@dataclass(frozen=True)
class Lowering:
    """The operators that a target runs fastest, or the only ones that it runs.

    Attributes:
      most_concatenated: the most inputs of one concatenation; longer ones are nested.
      producers: the number of convolutions that one is cut into if its output's channels go to
        several units; slices divide the rest.
      grouped: V1's grouped convolutions: "group" is one operator, "split" is one per group.
      shuffle: V1's shuffle between two grouped convolutions, by the number of groups: "transpose"
        is an operator after the depthwise convolution; "dense_compress" and "dense_expand" make
        the first or second convolution ungrouped, which then absorbs the order; "split" cuts the
        first convolution into one for each pair of groups.
      average_pool: V1's average pool of stride 2: "pool" is the operator of that name,
        "depthwise" is a depthwise convolution with constant weights and, if the padding is
        "same", a product that corrects the edges.

    Raises:
      ValueError: a field's value is not one of its choices.
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


# No limit: more tensors than any network concatenates.
UNLIMITED = 1 << 16

# Measured by benchmarks/latency.py and benchmarks/micro_and_npu.py (docs/benchmarks.md).
LOWERINGS = {
    # XNNPACK runs neither a concatenation of more than 5 inputs nor an int8 average pool, and would
    # cut the graph into pieces there.
    "cpu": Lowering(most_concatenated=5, producers=4, grouped="group", average_pool="depthwise"),
    "micro": Lowering(most_concatenated=UNLIMITED, producers=1, grouped="group"),
    # Grouped convolutions are not among the Edge TPU's documented operators.
    "edgetpu": Lowering(
        most_concatenated=UNLIMITED, producers=1, grouped="split", default_shuffle="split"
    ),
    # A slice costs Ethos-U a pass over memory; a convolution cut into pieces costs almost nothing.
    "ethosu": Lowering(
        most_concatenated=UNLIMITED, producers=UNLIMITED, grouped="split", default_shuffle="split"
    ),
}

# ONNX files are for any runtime, so nothing is cut for one. On a CPU with AVX2 alone, V2 1x in int8
# took ONNX Runtime 1.6 times as long, and OpenVINO 1.1 times, in the lowering for XNNPACK.
ONNX_LOWERING = Lowering(most_concatenated=UNLIMITED, producers=1, grouped="group")
