"""The layers of the deployment graph in tf_keras that tf_keras itself does not have."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from keras_shufflenet.layers import ungrouped_kernel

register = tf_keras.utils.register_keras_serializable(package="keras_shufflenet")
Layer = tf_keras.layers.Layer


@contextlib.contextmanager
def changed(attribute: str, values: Mapping[Any, Any]) -> Iterator[None]:
    """Gives an attribute other values, by object, while a model is traced for a conversion."""
    before = {owner: getattr(owner, attribute) for owner in values}
    for owner, value in values.items():
        setattr(owner, attribute, value)
    try:
        yield
    finally:
        for owner, value in before.items():
            setattr(owner, attribute, value)


@register
class ChannelSlice(Layer):
    """Channels `start` to `stop` of (batch, height, width, channels)."""

    def __init__(self, start: int, stop: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.start = start
        self.stop = stop

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the slice."""
        # XNNPACK only accepts explicit sizes; these indices give them if the batch is fixed.
        return inputs[..., self.start : self.stop]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "start": self.start, "stop": self.stop}


@register
class ChannelTranspose(Layer):
    """A channel shuffle of `groups` groups as a transpose of three dimensions."""

    def __init__(self, groups: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `inputs` with channel i * n + j moved to j * groups + i."""
        _, height, width, channels = inputs.shape
        x = tf.reshape(inputs, (-1, self.groups, channels // self.groups))
        x = tf.transpose(x, (0, 2, 1))
        return tf.reshape(x, (-1, height, width, channels))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "groups": self.groups}


@register
class SpatialReduction(Layer):
    """The mean or maximum over height and width; `kind` is "mean" or "max"."""

    def __init__(self, kind: str, keepdims: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.kind = kind
        self.keepdims = keepdims

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns (batch, channels), or (batch, 1, 1, channels) with `keepdims`."""
        reduce = {"mean": tf.reduce_mean, "max": tf.reduce_max}[self.kind]
        return reduce(inputs, (1, 2), keepdims=self.keepdims)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "kind": self.kind, "keepdims": self.keepdims}


@register
class WindowAverage(Layer):
    """Averages windows of pixels with a depthwise convolution of constant weights.

    Zeros that pad the image count as pixels. `padding` is "same" or "valid"; `window` and `stride`
    are pixels in each direction, those of ShuffleNet's pools by default.
    """

    def __init__(
        self,
        padding: str,
        window: Sequence[int] = (3, 3),
        stride: Sequence[int] = (2, 2),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.padding = padding
        self.window = tuple(window)
        self.stride = tuple(stride)

    def kernel(self, channels: int) -> tf.Tensor:
        """Returns the weights (height, width, channels, 1)."""
        return tf.fill((*self.window, channels, 1), 1 / float(np.prod(self.window)))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the averages."""
        kernel = self.kernel(inputs.shape[-1])
        return tf.nn.depthwise_conv2d(inputs, kernel, (1, *self.stride, 1), self.padding.upper())

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = ("padding", "window", "stride")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@register
class EdgeFactor(Layer):
    """Multiplies every pixel by the factor of its row and of its column."""

    def __init__(self, rows: Sequence[float], columns: Sequence[float], **kwargs: Any):
        super().__init__(**kwargs)
        self.rows = rows
        self.columns = columns

    def factors(self) -> tf.Tensor:
        """Returns the products of the factors, (1, height, width, 1)."""
        return tf.constant(np.outer(self.rows, self.columns)[None, ..., None], tf.float32)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the products."""
        return inputs * self.factors()

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "rows": self.rows, "columns": self.columns}


@register
class GroupedPointwise(tf_keras.layers.Conv2D):
    """A grouped 1x1 convolution that trains fast, as in `keras_shufflenet.layers`."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns the convolution; in training, as a product with the block-diagonal matrix."""
        if not training:
            return super().call(inputs)
        matrix = tf.squeeze(ungrouped_kernel(self.kernel, self.groups), (0, 1))
        return self.activation(tf.tensordot(inputs, matrix, axes=1) + self.bias)


@register
class Crop(Layer):
    """Rows and columns of a map without `amounts`, ((top, bottom), (left, right)) pixels."""

    def __init__(self, amounts: Sequence[Sequence[int]], **kwargs: Any):
        super().__init__(**kwargs)
        self.amounts = amounts

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns what is left."""
        (top, bottom), (left, right) = self.amounts
        _, height, width, _ = inputs.shape
        return inputs[:, top : height - bottom, left : width - right, :]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "amounts": self.amounts}


@register
class Resize(Layer):
    """A map resized to `size`, (height, width); `method` is "bilinear" or "nearest"."""

    def __init__(self, size: Sequence[int], method: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.size = tuple(size)
        self.method = method

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the map."""
        return tf.image.resize(inputs, self.size, self.method)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "size": self.size, "method": self.method}


@register
class QuantizeBorder(Layer):
    """Where a tensor of an int8 file goes to or from float32, or another scale; it does nothing.

    Attributes:
      marked: whether an operator that int8 does not have is written in its place, which
        `converters.conversion.tflite` removes from the file.
    """

    marked = False

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `inputs`."""
        return tf.sin(inputs) if self.marked else tf.identity(inputs)


@register
class Function(Layer):
    """An activation that is one operator: a name in `FUNCTIONS`."""

    def __init__(self, function: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the function's values."""
        return FUNCTIONS[self.function](inputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "function": self.function}


FUNCTIONS = {
    "elu": tf.nn.elu,
    "gelu": lambda x: tf.nn.gelu(x, approximate=False),
    "gelu_approximate": lambda x: tf.nn.gelu(x, approximate=True),
    # In this form TFLite has one operator for it.
    "hard_swish": lambda x: x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0),
    # In this form it has none, nor has this ELU: of what int16 does not have.
    "hard_swish_in_parts": lambda x: (x * (1.0 / 6.0)) * tf.nn.relu6(x + 3.0),
    "elu_in_parts": lambda x: tf.nn.relu(x) + (tf.exp(x - tf.nn.relu(x)) - 1.0),
    "tanh": tf.nn.tanh,
}
