"""The unit of ShuffleNetV2+, which Megvii published as code alone.

https://github.com/megvii-model/ShuffleNet-Series, ShuffleNetV2+
"""

from typing import Any

import keras

from keras_shufflenet.layers import (
    ChannelSplit,
    HardSqueezeExcite,
    batch_norm,
    check_choice,
    pointwise,
)
from keras_shufflenet.units.two_paths import TwoPathUnit, existing

# The kernels of a main path with one depthwise convolution, or three separable convolutions of 3x3.
KERNEL_SIZES = {"3x3": 3, "5x5": 5, "7x7": 7, "xception": 3}
BLOCKS = tuple(KERNEL_SIZES)
ACTIVATIONS = ("relu", "hard_swish")
SE_REDUCTION = 4


@keras.saving.register_keras_serializable(package="keras_shufflenet")
class ShuffleUnitV2Plus(TwoPathUnit):
    """The unit of ShuffleNetV2+: V2's, with other kernels and activations, and with SE.

    As in V2 with Megvii's convention, stride 1 passes the even channels on, and with stride 2 the
    shortcut keeps the number of channels. The main path is 1x1, depthwise, 1x1 as in V2, or three
    times depthwise 3x3, 1x1 as in Xception; after each 1x1 comes the activation.

    Args:
      filters: channels of the output, even.
      stride: 1 or 2.
      padding: "same" (TensorFlow's) or "symmetric" (PyTorch's), for stride 2.
      block: the kernel of the depthwise convolutions, "3x3", "5x5" or "7x7", or "xception".
      activation: "hard_swish" or "relu".
      se: True adds Squeeze-and-Excitation at the end of the main path.

    Input: (batch, height, width, channels), floating point; stride 1 needs channels = filters.
    Output: (batch, height / stride rounded up, width / stride rounded up, filters).

    Raises:
      ValueError: an argument is not as above.

    Examples:
      >>> unit = keras_shufflenet.ShuffleUnitV2Plus(104, stride=2, block="xception", se=True)
      >>> y = unit(np.ones((1, 56, 56, 36)))
    """

    def __init__(
        self,
        filters: int,
        stride: int = 1,
        padding: str = "same",
        block: str = "3x3",
        activation: str = "hard_swish",
        se: bool = False,
        **kwargs: Any,
    ):
        check_choice("block", block, BLOCKS)
        check_choice("activation", activation, ACTIVATIONS)
        super().__init__(filters, stride, padding, **kwargs)
        if filters % 2:
            raise ValueError(f"`filters` must be even. Received: filters={filters}")
        self.block = block
        self.activation = activation
        self.use_se = se

    def create_layers(self, channels: int) -> None:
        """Creates the layers of both paths and of the merge."""
        self._check_channels(channels)
        half, dtype = self.filters // 2, self.dtype_policy
        self.split = ChannelSplit(True, name="split", dtype=dtype) if self.stride == 1 else None
        self.shortcut_channels = half if self.stride == 1 else channels
        self.main_channels = self.filters - self.shortcut_channels
        size = KERNEL_SIZES[self.block]
        self.shortcut_layers = []
        if self.stride == 2:
            self.shortcut_layers += self._filtered("shortcut_depthwise", size)
            self.shortcut_layers += self._mixed("shortcut_pointwise", channels)
        if self.block == "xception":
            self.main_layers = self._separable_three_times(half)
        else:
            self.main_layers = [
                *self._mixed("pointwise1", half),
                *self._filtered("depthwise", size),
                *self._mixed("pointwise2", self.main_channels),
            ]
        if self.use_se:
            gate = HardSqueezeExcite(SE_REDUCTION, name="squeeze_excite", dtype=dtype)
            self.main_layers.append(gate)
        self.join = keras.layers.Concatenate(name="join", dtype=dtype)

    def _check_channels(self, channels: int | None) -> None:
        if self.stride == 1 and channels != self.filters:
            raise ValueError(
                "a unit of stride 1 passes half of its input on: the channels must equal "
                f"`filters`. Received: filters={self.filters}, channels={channels}"
            )
        if self.stride == 2 and (channels is None or channels >= self.filters):
            raise ValueError(
                "a unit of stride 2 keeps its channels: `filters` must exceed them. "
                f"Received: filters={self.filters}, channels={channels}"
            )

    def _separable_three_times(self, half: int) -> list[keras.layers.Layer]:
        layers = []
        for number, filters in enumerate((half, half, self.main_channels), 1):
            stride = self.stride if number == 1 else 1
            layers += self._filtered(f"depthwise{number}", KERNEL_SIZES[self.block], stride)
            layers += self._mixed(f"pointwise{number}", filters)
        return layers

    def _filtered(
        self, name: str, kernel_size: int, stride: int | None = None
    ) -> list[keras.layers.Layer]:
        """Returns a depthwise convolution with what comes before and after it."""
        return existing(
            [
                self._pad(f"{name}_pad", kernel_size, stride),
                self._depthwise(name, kernel_size, stride),
                batch_norm(name=f"{name}_bn", dtype=self.dtype_policy),
            ]
        )

    def _mixed(self, name: str, filters: int) -> list[keras.layers.Layer]:
        """Returns a 1x1 convolution with what comes after it."""
        dtype = self.dtype_policy
        return [
            pointwise(filters, name=name, dtype=dtype),
            batch_norm(name=f"{name}_bn", dtype=dtype),
            keras.layers.Activation(self.activation, name=f"{name}_activation", dtype=dtype),
        ]

    def shortcut(self) -> list[keras.layers.Layer]:
        """Returns an empty list for the identity, or the convolutions of stride 2."""
        return list(self.shortcut_layers)

    def main_path(self) -> list[keras.layers.Layer]:
        """Returns the convolutions and, if there is one, the gate."""
        return list(self.main_layers)

    def merge(self) -> list[keras.layers.Layer]:
        """Returns the concatenation; the next unit's split shuffles."""
        return [self.join]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "block": self.block,
            "activation": self.activation,
            "se": self.use_se,
        }
