"""Channels in another order than the model's: what a shuffle, a split and a concatenation do.

An *order* is an int array [channels]: `order[p]` is the number that the channel at position p has
in the model. Layers that only move channels change orders and touch no data; the convolution that
follows absorbs the order in its weights. -1 is a channel that the model does not have: a zero.

NumPy alone: the training graph and the deployment graph both compute with these orders.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

ABSENT = -1


class PermutedTensor(NamedTuple):
    """A tensor, and the numbers that its channels have in the model.

    Attributes:
      tensor: what holds the channels: a tensor, channels last, or the name of the operator that
        makes it.
      order: int [channels], in the order of the tensor.

    Examples:
      >>> PermutedTensor("conv", np.array([2, 0, 1])).renumbered(np.array([10, 11, 12])).order
      array([12, 10, 11])
    """

    tensor: Any
    order: np.ndarray

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.order)

    def renumbered(self, numbers: np.ndarray) -> "PermutedTensor":
        """Returns the same tensor, whose channel i of before is now called `numbers[i]`."""
        return self._replace(order=compose(numbers, self.order))

    def shifted(self, offset: int) -> "PermutedTensor":
        """Returns the same tensor with `offset` added to its channels' numbers."""
        return self._replace(order=np.where(self.order < 0, ABSENT, self.order + offset))

    def shuffled(self, groups: int) -> "PermutedTensor":
        """Returns the output of a `ChannelShuffle`: the same tensor, with other numbers."""
        return self.renumbered(inverse(shuffle(self.order.max() + 1, groups)))


def compose(numbers: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Returns `numbers[order]`; what is absent in `order` stays absent."""
    return np.where(order < 0, ABSENT, np.asarray(numbers)[order])


def inverse(order: np.ndarray, size: int | None = None) -> np.ndarray:
    """Returns the position of every number, int [size]; -1 for a number that is not in `order`.

    Args:
      order: each number at most once.
      size: how many numbers there are; one more than the largest in `order` by default.
    """
    order = np.asarray(order)
    present = np.flatnonzero(order >= 0)
    positions = np.full(order.max() + 1 if size is None else size, ABSENT)
    positions[order[present]] = present
    return positions


def shuffle(channels: int, groups: int) -> np.ndarray:
    """Returns the order of the channels after a `ChannelShuffle` of 0, 1, 2, ….

    Examples:
      >>> shuffle(6, groups=2)
      array([0, 3, 1, 4, 2, 5])
    """
    return np.arange(channels).reshape(groups, -1).T.ravel()


def halves(order: np.ndarray, interleaved: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Returns the orders of the two tensors that a `ChannelSplit` makes."""
    if interleaved:
        return order[0::2], order[1::2]
    return order[: len(order) // 2], order[len(order) // 2 :]


def split(order: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Returns the order cut into pieces of these sizes."""
    return np.split(order, np.cumsum(sizes)[:-1])


def padded(order: np.ndarray, multiple: int) -> np.ndarray:
    """Returns the order with as many absent channels at its end as make its length a multiple."""
    return np.append(order, [ABSENT] * (-len(order) % multiple)).astype(int)
