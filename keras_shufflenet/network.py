"""What the networks have in common: input, stem, stages and classifier."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_shufflenet.checkpoints.weights_argument import Settings, Weights
from keras_shufflenet.layers import (
    BN_EPSILON,
    batch_norm,
    check_channels_last,
    check_choice,
    check_positive_int,
)
from keras_shufflenet.preprocessing import PREPROCESSING, stem_conv2d

# The networks halve the size five times.
MINIMUM_SIZE = 32
DEFAULT_SIZE = 224
DEFAULT_SMALL_SIZE = 32
POOLINGS = (None, "avg", "max")


def check_arguments(pooling: Any, classes: Any) -> None:
    """Raises ValueError for the first wrong one of the arguments that all networks have."""
    check_channels_last()
    check_choice("pooling", pooling, POOLINGS)
    check_positive_int("classes", classes)


def check_widths(**widths: Any) -> None:
    """Raises ValueError unless each argument is None or a positive integer."""
    for name, value in widths.items():
        if value is not None:
            check_positive_int(name, value)


def check_stages(name: str, value: Any) -> None:
    """Raises ValueError unless `value`, the argument called `name`, has one integer per stage."""
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(
            f"`{name}` must be a list or tuple with a positive integer for each stage. "
            f"Received: {name}={value!r}"
        )
    for index, one in enumerate(value):
        check_positive_int(f"{name}[{index}]", one)


def check_same_length(units_per_stage: Sequence[int], stage_channels: Sequence[int]) -> None:
    """Raises ValueError unless every stage has a number of units and a width."""
    if len(units_per_stage) != len(stage_channels):
        raise ValueError(
            "`units_per_stage` and `stage_channels` must have one entry for each stage. "
            f"Received: units_per_stage={units_per_stage!r}, stage_channels={stage_channels!r}"
        )


def check_even(stage_channels: Sequence[int]) -> None:
    """Raises ValueError unless units can split each stage's channels in halves."""
    for channels in stage_channels:
        if channels % 2:
            raise ValueError(
                "`stage_channels` must be even, because units split them in halves (e.g. "
                f"{channels - 1} or {channels + 1}). Received: {channels} in {stage_channels}"
            )


def check_rate(name: str, value: Any) -> None:
    """Raises ValueError unless `value`, the argument called `name`, is at least 0 and below 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"`{name}` must be at least 0 and below 1. Received: {name}={value!r}")


def network_input(input_tensor: Any, input_shape: Any, small_images: bool) -> Any:
    """Returns the symbolic input of a network, like keras.applications.

    Args:
      input_tensor: None or a Keras tensor (batch, height, width, channels).
      input_shape: None or (height, width, channels); height and width are at least 32 or None.
      small_images: whether the default size is 32 instead of 224.

    Raises:
      ValueError: the shape is too small, not three numbers, or differs from the tensor's.
    """
    if input_tensor is None:
        if input_shape is None:
            size = DEFAULT_SMALL_SIZE if small_images else DEFAULT_SIZE
            input_shape = (size, size, 3)
        _check_input_shape("input_shape", input_shape)
        return keras.Input(tuple(input_shape))
    if not keras.utils.is_keras_tensor(input_tensor):
        raise ValueError(
            "`input_tensor` must be a Keras tensor such as keras.Input gives. "
            f"Received: input_tensor={input_tensor!r}"
        )
    shape = tuple(input_tensor.shape[1:])
    _check_input_shape("input_tensor", shape)
    if input_shape is not None and tuple(input_shape) != shape:
        raise ValueError(
            f"`input_shape` must equal the shape of `input_tensor`, {shape}, or be None. "
            f"Received: input_shape={input_shape!r}"
        )
    return input_tensor


def _check_input_shape(name: str, shape: Any) -> None:
    wanted = f"(height, width, channels), height and width at least {MINIMUM_SIZE} or None"
    if not isinstance(shape, Sequence) or isinstance(shape, str) or len(shape) != 3:
        raise ValueError(f"the shape of `{name}` must be {wanted}. Received: {name}={shape!r}")
    *sizes, channels = shape
    check_positive_int(f"{name}[2]", channels)
    for size in sizes:
        if size is not None and (not isinstance(size, int) or size < MINIMUM_SIZE):
            raise ValueError(f"the shape of `{name}` must be {wanted}. Received: {name}={shape!r}")


def stem(x: Any, channels: int, settings: Settings, small_images: bool) -> Any:
    """Returns `x` after the first convolution (stride 2) and max-pool (stride 2).

    Small images (32 to 64 pixels) have no detail to spare: stride 1, no max-pool.
    """
    x = stem_convolution(x, channels, settings, small_images)
    x = keras.layers.ReLU(name="stem_relu")(x)
    return x if small_images else stem_pool(x, settings.padding)


def stem_convolution(
    x: Any,
    channels: int,
    settings: Settings,
    small_images: bool,
    epsilon: float = BN_EPSILON,
) -> Any:
    """Returns `x` after the first convolution, of stride 2 (1 for small images), and its norm."""
    padding = settings.padding
    _check_channels(x, settings.preprocessing)
    x = _downsampling_pad(x, padding, small_images, "stem_pad")
    x = stem_conv2d(
        channels,
        3,
        1 if small_images else 2,
        padding="same" if small_images or padding == "same" else "valid",
        use_bias=False,
        preprocessing=settings.preprocessing,
        name="stem_conv",
    )(x)
    return batch_norm(name="stem_bn", epsilon=epsilon)(x)


def stem_pool(x: Any, padding: str) -> Any:
    """Returns `x`, the output of a ReLU, after a 3x3 max-pool of stride 2."""
    # Zeros may pad a maximum here: after a ReLU nothing is smaller.
    x = _downsampling_pad(x, padding, False, "stem_pool_pad")
    pool_padding = "same" if padding == "same" else "valid"
    return keras.layers.MaxPooling2D(3, 2, padding=pool_padding, name="stem_pool")(x)


def _check_channels(x: Any, preprocessing: str | None) -> None:
    wanted = 1 if preprocessing is None else len(PREPROCESSING[preprocessing].scale)
    if wanted > 1 and x.shape[-1] != wanted:
        raise ValueError(
            f"`preprocessing`={preprocessing!r} is for {wanted} channels. "
            f"Received: an input of {x.shape[-1]}"
        )


def _downsampling_pad(x: Any, padding: str, small_images: bool, name: str) -> Any:
    # See units/two_paths.py: PyTorch pads both sides by 1, TensorFlow's "same" pads an even size
    # only at its end; with stride 1 both are equal and need no operator.
    if padding == "same" or small_images:
        return x
    return keras.layers.ZeroPadding2D(1, name=name)(x)


def stages(
    x: Any,
    units_per_stage: Sequence[int],
    stage_channels: Sequence[int],
    make_unit: Callable[..., keras.layers.Layer],
) -> Any:
    """Returns `x` after all stages, which are called Stage2 and so on, as in the papers.

    Args:
      x: the stem's output.
      units_per_stage: number of units of each stage; the first of each has stride 2.
      stage_channels: output channels of each stage.
      make_unit: called with `filters`, `stride` and `name`, returns a unit.
    """
    for stage, (units, channels) in enumerate(zip(units_per_stage, stage_channels, strict=True), 2):
        for unit in range(1, units + 1):
            name = f"stage{stage}_unit{unit}"
            x = make_unit(filters=channels, stride=2 if unit == 1 else 1, name=name)(x)
    return x


def top(
    x: Any,
    include_top: bool,
    pooling: str | None,
    classes: int,
    classifier_activation: Any,
    dropout_rate: float = 0,
) -> Any:
    """Returns `x` after the pool and the classifier, or after the pool that `pooling` names."""
    if include_top:
        x = keras.layers.GlobalAveragePooling2D(name="global_pool")(x)
        if dropout_rate:
            x = keras.layers.Dropout(dropout_rate, name="dropout")(x)
        return keras.layers.Dense(classes, classifier_activation, name="predictions")(x)
    if pooling == "avg":
        return keras.layers.GlobalAveragePooling2D(name="global_pool")(x)
    if pooling == "max":
        return keras.layers.GlobalMaxPooling2D(name="global_pool")(x)
    return x


def make_model(
    inputs: Any, outputs: Any, name: str, weights: Weights, include_top: bool
) -> keras.Model:
    """Returns the functional model, from the sources of `inputs`, with its weights loaded."""
    # As in keras.applications: layers before `input_tensor` become part of the model.
    sources = keras.utils.get_source_inputs(inputs)
    # Not a list of one input: with it, Keras warns at every call with a plain array.
    model = keras.Model(sources[0] if len(sources) == 1 else sources, outputs, name=name)
    weights.load(model, include_top)
    return model
