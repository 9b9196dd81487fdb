"""The unit of ShuffleNet V2 (its Figure 3)."""

from typing import Any

import keras

from keras_shufflenet.layers import (
    CONVENTIONS,
    ChannelShuffle,
    ChannelSplit,
    batch_norm,
    check_choice,
    pointwise,
)
from keras_shufflenet.units.two_paths import TwoPathUnit, existing


@keras.saving.register_keras_serializable(package="keras_shufflenet")
class ShuffleUnitV2(TwoPathUnit):
    """The unit of ShuffleNet V2 (its Figure 3c and 3d).

    Stride 1 splits the channels: one half is passed on, the other goes through 1x1, BN, ReLU,
    depthwise 3x3, BN, 1x1, BN, ReLU. Stride 2 gives the whole input to both paths, and the shortcut
    is depthwise 3x3, BN, 1x1, BN, ReLU. Then come a concatenation and a shuffle of 2 groups.

    Args:
      filters: channels of the output, even.
      stride: 1 or 2.
      padding: "same" (TensorFlow's) or "symmetric" (PyTorch's), for stride 2.
      convention: "paper"; or "megvii", as in Megvii's code: instead of a shuffle at the end, stride
        1 splits into even and odd channels; with stride 2 the shortcut keeps the number of
        channels, and the main path has the rest (Stage2 at 1x: 24 and 92 instead of 58 and 58).
      first_depthwise: V2* (section 4): a depthwise 3x3 and BN before the first 1x1, for detectors,
        which have to see more of an image.

    Input: (batch, height, width, channels), floating point; stride 1 needs channels = filters.
    Output: (batch, height / stride rounded up, width / stride rounded up, filters).

    Raises:
      ValueError: an argument is not as above.

    Examples:
      >>> y = keras_shufflenet.ShuffleUnitV2(116, stride=2)(np.ones((1, 56, 56, 24)))
    """

    def __init__(
        self,
        filters: int,
        stride: int = 1,
        padding: str = "same",
        convention: str = "paper",
        first_depthwise: bool = False,
        **kwargs: Any,
    ):
        check_choice("convention", convention, CONVENTIONS)
        super().__init__(filters, stride, padding, **kwargs)
        if filters % 2:
            raise ValueError(f"`filters` must be even. Received: filters={filters}")
        self.convention = convention
        self.first_depthwise = first_depthwise

    def create_layers(self, channels: int) -> None:
        """Creates the layers of both paths and of the merge."""
        if self.stride == 1 and channels != self.filters:
            raise ValueError(
                "a unit of stride 1 passes half of its input on: the channels must equal "
                f"`filters`. Received: filters={self.filters}, channels={channels}"
            )
        dtype = self.dtype_policy
        half = self.filters // 2
        megvii = self.convention == "megvii"
        self.split = ChannelSplit(megvii, name="split", dtype=dtype) if self.stride == 1 else None
        shortcut = channels if megvii and self.stride == 2 else half
        if shortcut >= self.filters:
            raise ValueError(
                "a unit of stride 2 and convention 'megvii' keeps its channels: `filters` must "
                f"exceed them. Received: filters={self.filters}, channels={channels}"
            )
        self.shortcut_channels, self.main_channels = shortcut, self.filters - shortcut
        if self.stride == 2:
            self.shortcut_depthwise_pad = self._pad("shortcut_depthwise_pad")
            self.shortcut_depthwise = self._depthwise("shortcut_depthwise")
            self.shortcut_depthwise_bn = batch_norm(name="shortcut_depthwise_bn", dtype=dtype)
            self.shortcut_pointwise = pointwise(shortcut, name="shortcut_pointwise", dtype=dtype)
            self.shortcut_pointwise_bn = batch_norm(name="shortcut_pointwise_bn", dtype=dtype)
            self.shortcut_relu = self._relu("shortcut_relu")
        self.depthwise0 = self.depthwise0_bn = None
        if self.first_depthwise:
            self.depthwise0 = self._depthwise("depthwise0", stride=1)
            self.depthwise0_bn = batch_norm(name="depthwise0_bn", dtype=dtype)
        self.pointwise1 = pointwise(half, name="pointwise1", dtype=dtype)
        self.pointwise1_bn = batch_norm(name="pointwise1_bn", dtype=dtype)
        self.pointwise1_relu = self._relu("pointwise1_relu")
        self.depthwise_pad = self._pad("depthwise_pad")
        self.depthwise = self._depthwise("depthwise")
        self.depthwise_bn = batch_norm(name="depthwise_bn", dtype=dtype)
        self.pointwise2 = pointwise(self.main_channels, name="pointwise2", dtype=dtype)
        self.pointwise2_bn = batch_norm(name="pointwise2_bn", dtype=dtype)
        self.pointwise2_relu = self._relu("pointwise2_relu")
        self.join = keras.layers.Concatenate(name="join", dtype=dtype)
        self.shuffle = None if megvii else ChannelShuffle(2, name="shuffle", dtype=dtype)

    def shortcut(self) -> list[keras.layers.Layer]:
        """Returns an empty list for the identity, or the convolutions of stride 2."""
        if self.stride == 1:
            return []
        return existing(
            [
                self.shortcut_depthwise_pad,
                self.shortcut_depthwise,
                self.shortcut_depthwise_bn,
                self.shortcut_pointwise,
                self.shortcut_pointwise_bn,
                self.shortcut_relu,
            ]
        )

    def main_path(self) -> list[keras.layers.Layer]:
        """Returns the layers from the first convolution to the last ReLU, in order."""
        return existing(
            [
                self.depthwise0,
                self.depthwise0_bn,
                self.pointwise1,
                self.pointwise1_bn,
                self.pointwise1_relu,
                self.depthwise_pad,
                self.depthwise,
                self.depthwise_bn,
                self.pointwise2,
                self.pointwise2_bn,
                self.pointwise2_relu,
            ]
        )

    def merge(self) -> list[keras.layers.Layer]:
        """Returns the concatenation and, with convention "paper", the shuffle."""
        return existing([self.join, self.shuffle])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {"convention": self.convention, "first_depthwise": self.first_depthwise}
        return {**super().get_config(), **own}
