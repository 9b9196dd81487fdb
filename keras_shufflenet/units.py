"""The units of ShuffleNet V1 (its Figure 2) and V2 (its Figure 3)."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_shufflenet.layers import (
    CONVENTIONS,
    PADDINGS,
    ChannelShuffle,
    ChannelSplit,
    CompositeLayer,
    InnerLayer,
    ShortcutPool,
    SqueezeExcite,
    batch_norm,
    call_chain,
    check_choice,
    check_positive_int,
    pointwise,
    walk_chain,
)

STRIDES = (1, 2)


def bottleneck_channels(filters: int, groups: int) -> int:
    """Returns a V1 unit's bottleneck: a quarter of its output channels, a multiple of `groups`.

    The quarter is rounded to the nearest multiple, a tie upwards (V1's g=2 and g=4 at 0.25x, 0.5x
    and 1.5x: for 136 output channels the quarter is 34, and g=4 gets 36). The paper does not say
    how it rounds; of rounding down, up and to the nearest, this comes closest to its 13 and
    38 million multiply-adds: within 3%, while down and up differ by 4% and 8%.
    """
    # In integers: floor(filters / 4 / groups + 1/2).
    return max(1, (filters + 2 * groups) // (4 * groups)) * groups


class TwoPathUnit(CompositeLayer):
    """Base class of the units: a shortcut and a main path, merged.

    A unit defines its `shortcut`, `main_path` and `merge` as lists of layers; `split` is the layer
    that gives each path its input, or None if both paths take the whole input.
    """

    def __init__(self, filters: int, stride: int, padding: str, convention: str, **kwargs: Any):
        check_positive_int("filters", filters)
        check_choice("stride", stride, STRIDES)
        check_choice("padding", padding, PADDINGS)
        check_choice("convention", convention, CONVENTIONS)
        super().__init__(**kwargs)
        self.filters = filters
        self.stride = stride
        self.padding = padding
        self.convention = convention
        self.split: keras.layers.Layer | None = None

    def shortcut(self) -> list[keras.layers.Layer]:
        """Returns the layers of the shortcut, in order; an empty list for the identity."""
        raise NotImplementedError

    def main_path(self) -> list[keras.layers.Layer]:
        """Returns the layers of the main path, in order."""
        raise NotImplementedError

    def merge(self) -> list[keras.layers.Layer]:
        """Returns the layers after both paths, in order; the first takes [shortcut, main]."""
        raise NotImplementedError

    def inner_layers(self, input_shape: Sequence[int | None]) -> Iterator[InnerLayer]:
        """Yields the layers of both paths and of the merge with their shapes."""
        shapes = [tuple(input_shape)] * 2
        if self.split is not None:
            shapes = yield from walk_chain([self.split], tuple(input_shape))
        shortcut_shape = yield from walk_chain(self.shortcut(), shapes[0])
        main_shape = yield from walk_chain(self.main_path(), shapes[1])
        yield from walk_chain(self.merge(), [shortcut_shape, main_shape])

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the merged paths; `training` reaches BatchNormalization by the call context."""
        left, right = (inputs, inputs) if self.split is None else self.split(inputs)
        paths = [call_chain(self.shortcut(), left), call_chain(self.main_path(), right)]
        return call_chain(self.merge(), paths)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple:
        """Returns the output's shape; both paddings round a halved size up."""
        batch, height, width, _ = input_shape
        if self.stride == 2:
            height = None if height is None else (height + 1) // 2
            width = None if width is None else (width + 1) // 2
        return (batch, height, width, self.filters)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments that all units have."""
        names = ("filters", "stride", "padding", "convention")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _relu(self, name: str) -> keras.layers.ReLU:
        return keras.layers.ReLU(name=name, dtype=self.dtype_policy)

    def _pad(self, name: str) -> keras.layers.ZeroPadding2D | None:
        # TensorFlow's "same" pads an even size only at its end, PyTorch pads both sides by 1: with
        # stride 2 the windows are then at other positions, and imported weights would see shifted
        # images. With stride 1 both are equal, and a separate padding operator would waste time.
        if self.padding == "same" or self.stride == 1:
            return None
        return keras.layers.ZeroPadding2D(1, name=name, dtype=self.dtype_policy)

    def _window_padding(self) -> str:
        return "same" if self.padding == "same" or self.stride == 1 else "valid"

    def _depthwise(self, name: str) -> keras.layers.DepthwiseConv2D:
        return keras.layers.DepthwiseConv2D(
            3,
            self.stride,
            padding=self._window_padding(),
            use_bias=False,
            name=name,
            dtype=self.dtype_policy,
        )


def _existing(layers: Sequence[keras.layers.Layer | None]) -> list[keras.layers.Layer]:
    return [layer for layer in layers if layer is not None]


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
        super().__init__(filters, stride, padding, convention, **kwargs)
        if filters % groups:
            raise ValueError(
                f"`filters` must be a multiple of groups={groups}. Received: filters={filters}"
            )
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
        return _existing([self.shortcut_pool_pad, self.shortcut_pool])

    def main_path(self) -> list[keras.layers.Layer]:
        """Returns the layers from `compress` to `expand_bn`, in order."""
        return _existing(
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
        return _existing([self.join, whole, self.relu])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "groups": self.groups,
            "group_compress": self.group_compress,
            "shuffle": self.use_shuffle,
            "se": self.use_se,
        }


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
        **kwargs: Any,
    ):
        super().__init__(filters, stride, padding, convention, **kwargs)
        if filters % 2:
            raise ValueError(f"`filters` must be even. Received: filters={filters}")

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
        if self.stride == 2:
            self.shortcut_depthwise_pad = self._pad("shortcut_depthwise_pad")
            self.shortcut_depthwise = self._depthwise("shortcut_depthwise")
            self.shortcut_depthwise_bn = batch_norm(name="shortcut_depthwise_bn", dtype=dtype)
            self.shortcut_pointwise = pointwise(shortcut, name="shortcut_pointwise", dtype=dtype)
            self.shortcut_pointwise_bn = batch_norm(name="shortcut_pointwise_bn", dtype=dtype)
            self.shortcut_relu = self._relu("shortcut_relu")
        self.pointwise1 = pointwise(half, name="pointwise1", dtype=dtype)
        self.pointwise1_bn = batch_norm(name="pointwise1_bn", dtype=dtype)
        self.pointwise1_relu = self._relu("pointwise1_relu")
        self.depthwise_pad = self._pad("depthwise_pad")
        self.depthwise = self._depthwise("depthwise")
        self.depthwise_bn = batch_norm(name="depthwise_bn", dtype=dtype)
        self.pointwise2 = pointwise(self.filters - shortcut, name="pointwise2", dtype=dtype)
        self.pointwise2_bn = batch_norm(name="pointwise2_bn", dtype=dtype)
        self.pointwise2_relu = self._relu("pointwise2_relu")
        self.join = keras.layers.Concatenate(name="join", dtype=dtype)
        self.shuffle = None if megvii else ChannelShuffle(2, name="shuffle", dtype=dtype)

    def shortcut(self) -> list[keras.layers.Layer]:
        """Returns an empty list for the identity, or the convolutions of stride 2."""
        if self.stride == 1:
            return []
        return _existing(
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
        """Returns the layers from `pointwise1` to the last ReLU, in order."""
        return _existing(
            [
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
        return _existing([self.join, self.shuffle])
