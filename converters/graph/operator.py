"""One operator of the deployment graph."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from converters.graph.shapes import Shape


class Folded(NamedTuple):
    """A convolution's float32 kernel and bias, with BatchNormalization folded in."""

    kernel: np.ndarray
    bias: np.ndarray


def free_name(name: str, taken: Container[str]) -> str:
    """Returns the name, or one that begins with it if it is taken.

    A layer may have the name that a rule gives to a part of another.
    """
    while name in taken:
        name += "_"
    return name


@dataclass(frozen=True)
class Op:
    """One operator of the graph.

    Attributes:
      name: its name, which no other operator has.
      kind: one of `converters.graph.scales.SAME_SCALE`.
      inputs: the names of the operators that make its inputs.
      shape: its output's shape without the batch; the channels are last.
      weights: its weights, in the physical order of its input and output.
      settings: what else it needs, by name.
      shares: the name of an earlier operator with the same weights, which a file contains once.
      layers: the names of the model's layers that it computes, those of nested models included.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: Shape
    weights: Folded | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    shares: str | None = None
    layers: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return self.shape[-1]

    @property
    def activation(self) -> str | None:
        """The activation that is part of the operator: "relu", "relu6" or None."""
        return self.settings.get("activation")

    @property
    def is_float(self) -> bool:
        """Whether it stays in float32 in an int8 file (`converters.quantization.options`)."""
        return self.settings.get("keep_float", False)

    @property
    def per_tensor(self) -> bool:
        """Whether its int8 weights have one scale, instead of one per output channel."""
        return self.settings.get("per_tensor", False)
