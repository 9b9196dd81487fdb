"""The unit of ShuffleNet V1 (its Figure 2)."""

from typing import Any

import keras

from keras_shufflenet.layers import (
    CONVENTIONS,
    ChannelShuffle,
    ShortcutPool,
    SqueezeExcite,
    batch_norm,
    check_choice,
    check_positive_int,
    pointwise,
)
from keras_shufflenet.units.two_paths import TwoPathUnit, existing


def bottleneck_channels(filters: int, groups: int) -> int:
    """Returns a V1 unit's bottleneck: a quarter of its output channels, a multiple of `groups`.

    The quarter is rounded to the nearest multiple, a tie upwards (V1's g=2 and g=4 at 0.25x, 0.5x
    and 1.5x: for 136 output channels the quarter is 34, and g=4 gets 36). The paper does not say
    how it rounds; of rounding down, up and to the nearest, this comes closest to its 13 and
    38 million multiply-adds: within 3%, while down and up differ by 4% and 8%.
    """
    # In integers: floor(filters / 4 / groups + 1/2).
    return max(1, (filters + 2 * groups) // (4 * groups)) * groups


@keras.saving.register_keras_serializable(package="keras_shufflenet")
class ShuffleUnit(TwoPathUnit):
    """The unit of ShuffleNet V1 (its Figure 2b and 2c).

    Main path: grouped 1x1 to the bottleneck, BN, ReLU, shuffle, depthwise 3x3, BN, grouped 1x1,
    BN. With stride 1 it is added to the input; with stride 2 it is concatenated with the 3x3
    average pool of the input, so that it has `filters - channels` filters. Then comes a ReLU.

    Args:
      filters: channels of the output.
      groups: groups of the two 1x1 convolutions.
      stride: 1 or 2.
      padding: "same" (TensorFlow's) or "symmetric" (PyTorch's), for stride 2.
      group_compress: False leaves the first 1x1 convolution ungrouped, as in Stage2's first unit
        (Table 1: its input has few channels).
      shuffle: False omits the shuffle (Table 3).
      se: True adds Squeeze-and-Excitation (Table 5): with stride 1 on the main path before the
        addition; with stride 2, where there is no identity to keep, on the whole concatenation. So
        2x g=3 goes from 524 to 527 million multiply-adds, as in the paper.
      convention: "paper" shuffles channels (groups, n) to (n, groups); "megvii" reads them as
        (n, groups) and shuffles to (groups, n), as Megvii's code does. That code shuffles after the
        depthwise convolution, which is equivalent with its filters in another order.

    Input: (batch, height, width, channels), floating point; stride 1 needs channels = filters.
    Output: (batch, height / stride rounded up, width / stride rounded up, filters).

    Raises:
      ValueError: an argument is not as above, or the channels cannot be divided into the groups.

    Examples:
      >>> y = keras_shufflenet.ShuffleUnit(240, groups=3, stride=2)(np.ones((1, 56, 56, 24)))
    """

    def __init__(
        self,
        filters: int,
        groups: int = 3,
        stride: int = 1,
        padding: str = "same",
        group_compress: bool = True,
        shuffle: bool = True,
        se: bool = False,
        convention: str = "paper",
        **kwargs: Any,
    ):
        check_positive_int("groups", groups)
        check_choice("convention", convention, CONVENTIONS)
        super().__init__(filters, stride, padding, **kwargs)
        if filters % groups:
            raise ValueError(
                f"`filters` must be a multiple of groups={groups}. Received: filters={filters}"
            )
        self.convention = convention
        self.groups = groups
        self.group_compress = group_compress
        self.use_shuffle = shuffle
        self.use_se = se

    def create_layers(self, channels: int) -> None:
        """Creates the layers of both paths and of the merge."""
        self._check_channels(channels)
        dtype = self.dtype_policy
        bottleneck = bottleneck_channels(self.filters, self.groups)
        compress_groups = self.groups if self.group_compress else 1
        expanded = self.filters if self.stride == 1 else self.filters - channels

        self.compress = pointwise(bottleneck, compress_groups, name="compress", dtype=dtype)
        self.compress_bn = batch_norm(name="compress_bn", dtype=dtype)
        self.compress_relu = self._relu("compress_relu")
        # One group has nothing to mix.
        shuffles = self.use_shuffle and self.groups > 1
        rows = self.groups if self.convention == "paper" else bottleneck // self.groups
        self.shuffle = ChannelShuffle(rows, name="shuffle", dtype=dtype) if shuffles else None
        self.depthwise_pad = self._pad("depthwise_pad")
        self.depthwise = self._depthwise("depthwise")
        self.depthwise_bn = batch_norm(name="depthwise_bn", dtype=dtype)
        self.expand = pointwise(expanded, self.groups, name="expand", dtype=dtype)
        self.expand_bn = batch_norm(name="expand_bn", dtype=dtype)
        self.squeeze_excite = (
            SqueezeExcite(name="squeeze_excite", dtype=dtype) if self.use_se else None
        )
        self._create_shortcut_and_merge()

    def _create_shortcut_and_merge(self) -> None:
        dtype = self.dtype_policy
        self.shortcut_pool_pad = self._pad("shortcut_pool_pad")
        self.shortcut_pool = None
        if self.stride == 1:
            self.join = keras.layers.Add(name="join", dtype=dtype)
        else:
            # PyTorch's average counts the padding's zeros, as this does after an explicit pad;
            # TensorFlow's "same" does not count them.
            self.shortcut_pool = ShortcutPool(
                padding=self._window_padding(), name="shortcut_pool", dtype=dtype
            )
            self.join = keras.layers.Concatenate(name="join", dtype=dtype)
        self.relu = self._relu("relu")

    def _check_channels(self, channels: int | None) -> None:
        if channels is None:
            raise ValueError("ShuffleUnit needs a known number of channels. Received: None")
        if self.stride == 1 and channels != self.filters:
            raise ValueError(
                "a unit of stride 1 adds its input: the channels must equal `filters`. "
                f"Received: filters={self.filters}, channels={channels}"
            )
        if self.stride == 2 and (
            channels >= self.filters or (self.filters - channels) % self.groups
        ):
            raise ValueError(
                "a unit of stride 2 concatenates: `filters` minus channels must be a positive "
                f"multiple of groups={self.groups}. "
                f"Received: filters={self.filters}, channels={channels}"
            )
        if self.group_compress and channels % self.groups:
            raise ValueError(
                f"the channels must be a multiple of groups={self.groups} (or group_compress "
                f"False). Received: channels={channels}"
            )

    def shortcut(self) -> list[keras.layers.Layer]:
        """Returns an empty list for the identity, or the average pool of stride 2."""
        return existing([self.shortcut_pool_pad, self.shortcut_pool])

    def main_path(self) -> list[keras.layers.Layer]:
        """Returns the layers from `compress` to `expand_bn`, in order."""
        return existing(
            [
                self.compress,
                self.compress_bn,
                self.compress_relu,
                self.shuffle,
                self.depthwise_pad,
                self.depthwise,
                self.depthwise_bn,  # and no ReLU, as in Xception
                self.expand,
                self.expand_bn,
                self.squeeze_excite if self.stride == 1 else None,
            ]
        )

    def merge(self) -> list[keras.layers.Layer]:
        """Returns the addition or concatenation and what follows it."""
        whole = self.squeeze_excite if self.stride == 2 else None
        return existing([self.join, whole, self.relu])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "convention": self.convention,
            "groups": self.groups,
            "group_compress": self.group_compress,
            "shuffle": self.use_shuffle,
            "se": self.use_se,
        }
