"""The units of ShuffleNetV2.Large and ShuffleNetV2.ExLarge: residual, with SE.

The V2 paper, section 4 and appendix, describes such networks; these are those that Megvii
published as code: https://github.com/megvii-model/ShuffleNet-Series
"""

from typing import Any

import keras

from keras_shufflenet.layers import (
    BN_EPSILON,
    ChannelSplit,
    SqueezeExcite,
    batch_norm,
    check_positive_int,
    pointwise,
)
from keras_shufflenet.units.two_paths import TwoPathUnit, existing


class ResidualUnit(TwoPathUnit):
    """Base class of the units of the large networks; see `ShuffleUnitV2Large`."""

    def __init__(
        self,
        filters: int,
        groups: int = 8,
        stride: int = 1,
        padding: str = "same",
        first: bool = False,
        epsilon: float = BN_EPSILON,
        **kwargs: Any,
    ):
        check_positive_int("groups", groups)
        super().__init__(filters, stride, padding, **kwargs)
        if filters % (2 * groups):
            raise ValueError(
                f"`filters` must be a multiple of twice the groups={groups}. "
                f"Received: filters={filters}"
            )
        if stride == 2 and not first:
            raise ValueError("`stride` must be 1 if not `first`. Received: stride=2, first=False")
        self.groups = groups
        self.first = first
        self.epsilon = epsilon

    def _check_channels(self, channels: int | None) -> None:
        if not self.first and channels != self.filters:
            raise ValueError(
                "a unit that is not a stage's first adds its input: the channels must equal "
                f"`filters`. Received: filters={self.filters}, channels={channels}"
            )

    def _normalized(self, layer: keras.layers.Layer, relu: bool = True) -> list[keras.layers.Layer]:
        """Returns a convolution with its padding, BatchNormalization and, if wanted, ReLU."""
        pads = layer.padding == "valid" and tuple(layer.kernel_size) != (1, 1)
        norm = batch_norm(name=f"{layer.name}_bn", dtype=self.dtype_policy, epsilon=self.epsilon)
        return existing(
            [
                self._pad(f"{layer.name}_pad") if pads else None,
                layer,
                norm,
                self._relu(f"{layer.name}_relu") if relu else None,
            ]
        )

    def _mixed(self, name: str, filters: int, relu: bool = True) -> list[keras.layers.Layer]:
        return self._normalized(pointwise(filters, name=name, dtype=self.dtype_policy), relu)

    def _convolved(
        self, name: str, filters: int, groups: int = 1, relu: bool = True
    ) -> list[keras.layers.Layer]:
        layer = keras.layers.Conv2D(
            filters,
            3,
            self.stride,
            padding=self._window_padding(),
            groups=groups,
            use_bias=False,
            name=name,
            dtype=self.dtype_policy,
        )
        return self._normalized(layer, relu)

    def shortcut(self) -> list[keras.layers.Layer]:
        """Returns an empty list for the identity, or the 3x3 convolution of a first unit."""
        return list(self.shortcut_layers)

    def main_path(self) -> list[keras.layers.Layer]:
        """Returns the layers from the first 1x1 convolution to the gate, in order."""
        return list(self.main_layers)

    def residual(self) -> list[keras.layers.Layer]:
        """Returns the addition of the main path's input, except in a first unit."""
        return list(self.residual_layers)

    def merge(self) -> list[keras.layers.Layer]:
        """Returns the concatenation and what follows it; the next unit's split shuffles."""
        return list(self.merge_layers)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = ("groups", "first", "epsilon")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="keras_shufflenet")
class ShuffleUnitV2Large(ResidualUnit):
    """The unit of ShuffleNetV2.Large.

    It passes the even channels on. The odd ones go through 1x1, 3x3 in groups and 1x1 and a gate,
    and are added to the result. A stage's first unit adds nothing: it convolves the even ones 3x3.
    After the concatenation comes a ReLU and, with stride 2, another 1x1 convolution.

    Args:
      filters: channels of the output, a multiple of twice the groups.
      groups: groups of the 3x3 convolution.
      stride: 1, or 2 in a first unit.
      padding: "same" (TensorFlow's) or "symmetric" (PyTorch's), for stride 2.
      first: whether it is a stage's first unit.
      epsilon: of BatchNormalization; Megvii's code has 1e-9.

    Input: (batch, height, width, channels), floating point, channels even, = filters if not first.
    Output: (batch, height / stride rounded up, width / stride rounded up, filters).

    Raises:
      ValueError: an argument is not as above.

    Examples:
      >>> y = keras_shufflenet.ShuffleUnitV2Large(256)(np.ones((1, 56, 56, 256)))
    """

    def create_layers(self, channels: int) -> None:
        """Creates the layers of both paths and of the merge."""
        self._check_channels(channels)
        half, dtype = self.filters // 2, self.dtype_policy
        self.split = ChannelSplit(True, name="split", dtype=dtype)
        self.shortcut_layers = (
            self._convolved("shortcut_conv", half, relu=False) if self.first else []
        )
        self.main_layers = [
            *self._mixed("pointwise1", half),
            *self._convolved("conv", half, self.groups),
            *self._mixed("pointwise2", half, relu=False),
            SqueezeExcite(1, name="squeeze_excite", dtype=dtype),
        ]
        self.residual_layers = [] if self.first else [keras.layers.Add(name="add", dtype=dtype)]
        self.merge_layers = [
            keras.layers.Concatenate(name="join", dtype=dtype),
            self._relu("relu"),
            *(self._mixed("mix", self.filters) if self.stride == 2 else []),
        ]


@keras.saving.register_keras_serializable(package="keras_shufflenet")
class ShuffleUnitV2ExLarge(ResidualUnit):
    """The unit of ShuffleNetV2.ExLarge.

    As `ShuffleUnitV2Large`, but its main path is as wide as its output and has another depthwise
    3x3, its gate is narrower, and both paths of a stage's first unit take the whole input.

    Args:
      filters: channels of the output, a multiple of twice the groups.
      groups: groups of the 3x3 convolution.
      stride: 1, or 2 in a first unit.
      padding: "same" (TensorFlow's) or "symmetric" (PyTorch's), for stride 2.
      first: whether it is a stage's first unit.
      epsilon: of BatchNormalization.

    Input: (batch, height, width, channels), floating point, channels even, = filters if not first.
    Output: (batch, height / stride rounded up, width / stride rounded up, filters).

    Raises:
      ValueError: an argument is not as above.

    Examples:
      >>> y = keras_shufflenet.ShuffleUnitV2ExLarge(320, groups=16)(np.ones((1, 56, 56, 320)))
    """

    def create_layers(self, channels: int) -> None:
        """Creates the layers of both paths and of the merge."""
        self._check_channels(channels)
        half, dtype = self.filters // 2, self.dtype_policy
        self.split = None if self.first else ChannelSplit(True, name="split", dtype=dtype)
        self.shortcut_layers = self._convolved("shortcut_conv", half) if self.first else []
        self.main_layers = [
            *self._mixed("pointwise1", self.filters),
            *self._convolved("conv", self.filters, self.groups),
            *self._normalized(self._depthwise("depthwise", stride=1), relu=False),
            *self._mixed("pointwise2", half, relu=False),
            SqueezeExcite(4, name="squeeze_excite", dtype=dtype),
        ]
        self.residual_layers = []
        if not self.first:
            self.residual_layers = [
                keras.layers.Add(name="add", dtype=dtype),
                self._relu("relu"),
            ]
        self.merge_layers = [keras.layers.Concatenate(name="join", dtype=dtype)]
