"""The layers of ShuffleNets, and the base class of layers that consist of other layers.

Everything is channels_last: TFLite, and every device that reads it, supports no other order.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

# As in Megvii's and torchvision's networks; Keras's own 1e-3 would shift imported checkpoints.
BN_EPSILON = 1e-5
# Keras's momentum is the share of the old value: PyTorch's 0.1 is 0.9 here.
BN_MOMENTUM = 0.9

PADDINGS = ("same", "symmetric")

# Where a shuffle moves channels: as in the papers and torchvision, or as in Megvii's code, whose
# checkpoints need it (the units say what differs).
CONVENTIONS = ("paper", "megvii")


def check_positive_int(name: str, value: Any) -> None:
    """Raises ValueError unless `value`, the argument called `name`, is an int of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raises ValueError unless `value`, the argument called `name`, is one of `choices`."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {tuple(choices)}. Received: {name}={value!r}")


def check_channels_last() -> None:
    """Raises ValueError if Keras is set to channels_first, which this package does not support."""
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "keras_shufflenet works with data_format='channels_last' only. Received: "
            f"keras.config.image_data_format()={keras.config.image_data_format()!r}; "
            "call keras.config.set_image_data_format('channels_last')"
        )


def ungrouped_kernel(kernel: Any, groups: int) -> Any:
    """Returns the kernel of the convolution of one group that computes what a grouped one does.

    Its matrices are block-diagonal: an output has zeros for the inputs of other groups.

    Args:
      kernel: [height, width, channels / groups, filters], a tensor or an array.
      groups: number of groups.

    Returns:
      A tensor [height, width, channels, filters].
    """
    height, width, rows, filters = kernel.shape
    blocks = np.repeat(np.eye(groups), filters // groups, axis=1)[:, None]
    kernel = ops.expand_dims(kernel, 2) * ops.cast(blocks, kernel.dtype)
    return ops.reshape(kernel, (height, width, groups * rows, filters))


class GroupedPointwise(keras.layers.Conv2D):
    """A grouped 1x1 convolution without bias or activation that trains fast.

    TensorFlow compiles the gradients of a grouped convolution with XLA on CPUs: a training step
    of V1 takes ten times as long (`python -m benchmarks.grouped_training`). So while it trains,
    the layer multiplies by the block-diagonal matrix of its kernels, which is the same; where it
    does not, and in all that is exported, it is a grouped convolution.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the convolution."""
        if not training:
            return super().call(inputs)
        matrix = ops.squeeze(ungrouped_kernel(self.kernel, self.groups), (0, 1))
        return ops.tensordot(inputs, matrix, axes=1)


class ShortcutPool(keras.layers.AveragePooling2D):
    """The 3x3 average pool of stride 2 on V1's shortcut: averages only pixels inside the image.

    TensorFlow's "same" does the same, and so do all of Keras's backends but PyTorch: at an even
    size, that one repeats the last row or column and counts it (in Keras 3.15; fixed by
    https://github.com/keras-team/keras/pull/23233).
    """

    def __init__(self, **kwargs: Any):
        super().__init__(3, 2, **kwargs)

    def call(self, inputs: Any) -> Any:
        """Returns the averages."""
        if self.padding == "valid" or keras.backend.backend() != "torch":
            return super().call(inputs)
        _, height, width, _ = ops.shape(inputs)
        # Like TensorFlow's "same": an odd size is padded on both sides, an even one at its end.
        pads = ((0, 0), (height % 2, 1), (width % 2, 1), (0, 0))
        inside = ops.ones((1, height, width, 1), inputs.dtype)
        sums, counts = (ops.average_pool(ops.pad(x, pads), 3, 2, "valid") for x in (inputs, inside))
        return sums / counts


def pointwise(filters: int, groups: int = 1, **kwargs: Any) -> keras.layers.Conv2D:
    """Returns a (grouped) 1x1 convolution; it has no bias because BatchNormalization follows."""
    layer = keras.layers.Conv2D if groups == 1 else GroupedPointwise
    return layer(filters, 1, groups=groups, use_bias=False, **kwargs)


def batch_norm(**kwargs: Any) -> keras.layers.BatchNormalization:
    """Returns a BatchNormalization with the epsilon and momentum of the networks here."""
    return keras.layers.BatchNormalization(
        **{"epsilon": BN_EPSILON, "momentum": BN_MOMENTUM, **kwargs}
    )


class InnerLayer(NamedTuple):
    """A layer inside a composite layer, with its shapes (a merge has a list of input shapes)."""

    layer: keras.layers.Layer
    input_shape: Any
    output_shape: Any


def walk_chain(chain: Sequence[keras.layers.Layer], shape: Any) -> Iterator[InnerLayer]:
    """Yields the layers of `chain` with their shapes; the generator returns the last shape."""
    for layer in chain:
        output_shape = layer.compute_output_shape(shape)
        yield InnerLayer(layer, shape, output_shape)
        shape = output_shape
    return shape


def call_chain(chain: Sequence[keras.layers.Layer], x: Any) -> Any:
    """Calls the layers of `chain` one after the other, the first of them with `x`.

    `training` reaches the inner layers through Keras's call context.
    """
    for layer in chain:
        x = layer(x)
    return x


class CompositeLayer(keras.layers.Layer):
    """Base class of layers that consist of layers: `inner_layers` describes what is inside.

    `build` follows it, and so does the counting in `keras_shufflenet.complexity`.
    """

    def __init__(self, **kwargs: Any):
        check_channels_last()
        super().__init__(**kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def create_layers(self, channels: int) -> None:
        """Creates the inner layers as attributes, for an input of `channels` channels.

        Raises:
          ValueError: the layer does not support this number of channels.
        """
        raise NotImplementedError

    def inner_layers(self, input_shape: Sequence[int | None]) -> Iterator[InnerLayer]:
        """Yields every inner layer in the order of execution, with its shapes.

        Args:
          input_shape: (batch, height, width, channels) of the composite layer's input.
        """
        raise NotImplementedError

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the inner layers and their weights."""
        self.create_layers(input_shape[-1])
        for inner in self.inner_layers(tuple(input_shape)):
            inner.layer.build(inner.input_shape)


@keras.saving.register_keras_serializable(package="keras_shufflenet")
class ChannelShuffle(keras.layers.Layer):
    """Mixes the channels of `groups` groups: channel `i * n + j` goes to `j * groups + i`.

    With `n = channels / groups`, reshapes the channels to (groups, n), transposes and flattens
    (V1 paper, section 3.1). Height and width are merged during the transpose, because TFLite
    transposes at most 4 dimensions.

    Args:
      groups: number of groups; the number of channels must be a multiple of it.

    Input and output: (batch, height, width, channels), any dtype.

    Raises:
      ValueError: `groups` is not a positive integer, or the number of channels is not a multiple.

    Examples:
      >>> y = keras_shufflenet.ChannelShuffle(groups=2)(np.arange(4.0).reshape(1, 1, 1, 4))
      >>> keras.ops.convert_to_numpy(y).ravel()
      array([0., 2., 1., 3.], dtype=float32)
    """

    def __init__(self, groups: int, **kwargs: Any):
        check_positive_int("groups", groups)
        check_channels_last()
        super().__init__(**kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self.groups = groups

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Checks the number of channels; there are no weights."""
        channels = input_shape[-1]
        if channels is None or channels % self.groups:
            raise ValueError(
                f"the channels must be a multiple of `groups`={self.groups}. "
                f"Received: input_shape={tuple(input_shape)}"
            )

    def call(self, inputs: Any) -> Any:
        """Returns `inputs` with its channels shuffled."""
        # A known size is a plain integer here, so that exported graphs do not compute shapes.
        _, height, width, channels = ops.shape(inputs)
        per_group = channels // self.groups
        x = ops.reshape(inputs, (-1, height * width, self.groups, per_group))
        x = ops.transpose(x, (0, 1, 3, 2))
        return ops.reshape(x, (-1, height, width, channels))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple:
        """Returns the input's shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable(package="keras_shufflenet")
class ChannelSplit(keras.layers.Layer):
    """Splits the channels into two halves (V2 paper, section 3.2).

    Args:
      interleaved: True splits into even and odd channels, as Megvii's code does: there the shuffle
        is at the start of a unit.

    Input: (batch, height, width, channels), channels even, any dtype.
    Output: a list of two tensors (batch, height, width, channels / 2).

    Raises:
      ValueError: the number of channels is odd.

    Examples:
      >>> left, right = keras_shufflenet.ChannelSplit()(np.zeros((1, 8, 8, 116)))
    """

    def __init__(self, interleaved: bool = False, **kwargs: Any):
        check_channels_last()
        super().__init__(**kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self.interleaved = interleaved

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Checks the number of channels; there are no weights."""
        if input_shape[-1] is None or input_shape[-1] % 2:
            raise ValueError(
                f"the channels must be even. Received: input_shape={tuple(input_shape)}"
            )

    def call(self, inputs: Any) -> list:
        """Returns the two halves."""
        if self.interleaved:
            return [inputs[..., 0::2], inputs[..., 1::2]]
        return list(ops.split(inputs, 2, axis=-1))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> list[tuple]:
        """Returns the shapes of the two halves."""
        half = (*input_shape[:-1], input_shape[-1] // 2)
        return [half, half]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "interleaved": self.interleaved}


@keras.saving.register_keras_serializable(package="keras_shufflenet")
class SqueezeExcite(CompositeLayer):
    """Scales every channel by a gate in (0, 1) computed from all channels' means.

    Squeeze-and-Excitation (Hu et al., 2017), as in V1 paper, Table 5. Its two dense layers are
    1x1 convolutions on a 1x1 map: the same sums, but a device does not have to reshape anything.

    Args:
      reduction: the number of channels is divided by this factor between the two layers.

    Input and output: (batch, height, width, channels), floating point.

    Raises:
      ValueError: `reduction` is not a positive integer.

    Examples:
      >>> y = keras_shufflenet.SqueezeExcite(reduction=16)(np.ones((1, 7, 7, 960)))
    """

    def __init__(self, reduction: int = 16, **kwargs: Any):
        check_positive_int("reduction", reduction)
        super().__init__(**kwargs)
        self.reduction = reduction

    def create_layers(self, channels: int) -> None:
        """Creates the pool, the two dense layers and the product."""
        dtype = self.dtype_policy
        squeezed = max(1, channels // self.reduction)
        self.squeeze = keras.layers.GlobalAveragePooling2D(
            keepdims=True, name="squeeze", dtype=dtype
        )
        self.reduce = keras.layers.Conv2D(
            squeezed, 1, activation="relu", name="reduce", dtype=dtype
        )
        self.expand = keras.layers.Conv2D(
            channels, 1, activation="sigmoid", name="expand", dtype=dtype
        )
        self.scale = keras.layers.Multiply(name="scale", dtype=dtype)

    def gate(self) -> list[keras.layers.Layer]:
        """Returns the layers that compute the gate, in order."""
        return [self.squeeze, self.reduce, self.expand]

    def inner_layers(self, input_shape: Sequence[int | None]) -> Iterator[InnerLayer]:
        """Yields the gate's layers and the product with their shapes."""
        gate_shape = yield from walk_chain(self.gate(), input_shape)
        yield from walk_chain([self.scale], [input_shape, gate_shape])

    def call(self, inputs: Any) -> Any:
        """Returns `inputs` times its gate."""
        return self.scale([inputs, call_chain(self.gate(), inputs)])

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple:
        """Returns the input's shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "reduction": self.reduction}


@keras.saving.register_keras_serializable(package="keras_shufflenet")
class HardSqueezeExcite(SqueezeExcite):
    """The Squeeze-and-Excitation of ShuffleNetV2+, whose gate is a hard sigmoid.

    Between its two layers, which have no bias, is a BatchNormalization.

    Args:
      reduction: the number of channels is divided by this factor between the two layers.

    Input and output: (batch, height, width, channels), floating point.

    Raises:
      ValueError: `reduction` is not a positive integer.

    Examples:
      >>> y = keras_shufflenet.HardSqueezeExcite(reduction=4)(np.ones((1, 7, 7, 208)))
    """

    def create_layers(self, channels: int) -> None:
        """Creates the pool, the two layers with what is between them, and the product."""
        super().create_layers(channels)
        dtype = self.dtype_policy
        self.reduce = pointwise(self.reduce.filters, name="reduce", dtype=dtype)
        self.reduce_bn = batch_norm(name="reduce_bn", dtype=dtype)
        self.reduce_relu = keras.layers.ReLU(name="reduce_relu", dtype=dtype)
        self.expand = pointwise(channels, activation="hard_sigmoid", name="expand", dtype=dtype)

    def gate(self) -> list[keras.layers.Layer]:
        """Returns the layers that compute the gate, in order."""
        return [self.squeeze, self.reduce, self.reduce_bn, self.reduce_relu, self.expand]
