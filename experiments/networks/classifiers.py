"""The classifiers of V1's Tables 6 and 8 that keras.applications does not have.

They accept any image size: AlexNet's and VGG-16's dense layers are convolutions here, with the same
weights and, at 224 pixels, the same result. Larger images give several positions, whose logits are
averaged (Sermanet et al., 2013; VGG's own evaluation). As matrices those layers would grow with the
image: VGG-16's first one to 1.8 billion weights at 720x1280.

Each function takes the input's shape (height, width, channels), 224x224x3 by default, AlexNet and
VGG-16 no fewer pixels, and the number of classes. It returns a functional model from pixels in
[-1, 1] to logits (batch, classes).
"""

from collections.abc import Sequence
from typing import Any

import keras

_layers = keras.layers
Shape = Sequence[int] | None
_DEFAULT = (224, 224, 3)


def AlexNet(input_shape: Shape = None, classes: int = 1000) -> keras.Model:
    """Returns AlexNet (Krizhevsky et al., 2012), its two halves as convolutions of two groups.

    Local response normalization is omitted: it has no int8 operator and no multiply-adds in the
    paper's count. So is dropout, which does nothing in inference. 724,406,816 multiply-adds and
    60,965,224 parameters at 224 pixels.

    Examples:
      >>> model = AlexNet((480, 640, 3))
    """
    image = keras.Input(tuple(input_shape or _DEFAULT))
    # The paper says 224 pixels, but its 55 positions need 227: two more on each side, one unused.
    x = _layers.ZeroPadding2D(2, name="conv1_pad")(image)
    x = _convolve(x, 96, 11, "conv1", strides=4, padding="valid")
    x = _layers.MaxPooling2D(3, 2, name="pool1")(x)
    x = _convolve(x, 256, 5, "conv2", groups=2)
    x = _layers.MaxPooling2D(3, 2, name="pool2")(x)
    x = _convolve(x, 384, 3, "conv3")
    x = _convolve(x, 384, 3, "conv4", groups=2)
    x = _convolve(x, 256, 3, "conv5", groups=2)
    x = _layers.MaxPooling2D(3, 2, name="pool5")(x)
    return keras.Model(image, _dense_as_convolutions(x, 6, classes), name="alexnet")


# By number of a fire module, its squeezed and expanded channels (Iandola et al., 2016, Table 1).
_FIRES = {
    2: (16, 64), 3: (16, 64), 4: (32, 128), 5: (32, 128),
    6: (48, 192), 7: (48, 192), 8: (64, 256), 9: (64, 256),
}  # fmt: skip


def SqueezeNet(input_shape: Shape = None, classes: int = 1000) -> keras.Model:
    """Returns SqueezeNet 1.0 (Iandola et al., 2016), without bypass.

    Sizes as in torchvision: 109 pixels after the first convolution, and pools that round up.
    1,248,424 parameters.
    """
    image = keras.Input(tuple(input_shape or _DEFAULT))
    x = _convolve(image, 96, 7, "conv1", strides=2, padding="valid")
    x = _pool_up(x, "pool1")
    for number, channels in _FIRES.items():
        x = _fire(x, *channels, f"fire{number}")
        if number in (4, 8):
            x = _pool_up(x, f"pool{number}")
    x = _convolve(x, classes, 1, "conv10")
    return keras.Model(image, _average(x), name="squeezenet")


# By name, channels of an inception module: 1x1, 3x3 reduced and expanded, 5x5 reduced and expanded,
# and after the pool (Szegedy et al., 2014, Table 1).
_INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
# The modules that a pool follows.
_POOLED = ("3b", "4e")


def GoogLeNet(input_shape: Shape = None, classes: int = 1000) -> keras.Model:
    """Returns GoogLeNet (Szegedy et al., 2014) for inference: without the auxiliary classifiers.

    Local response normalization is omitted, as in `AlexNet`. Its paper says 1.5 billion
    multiply-adds; its layers have 1,582,671,872. The first one has 118 million of them (64 filters
    of 7x7x3 at 112x112 positions), but the paper's Table 1 says 34 million.
    """
    image = keras.Input(tuple(input_shape or _DEFAULT))
    x = _convolve(image, 64, 7, "conv1", strides=2)
    x = _pool(x, "pool1")
    x = _convolve(x, 64, 1, "conv2_reduce")
    x = _convolve(x, 192, 3, "conv2")
    x = _pool(x, "pool2")
    for name, channels in _INCEPTIONS.items():
        x = _inception(x, channels, f"inception_{name}")
        if name in _POOLED:
            x = _pool(x, f"pool_{name}")
    x = _layers.GlobalAveragePooling2D(name="global_pool")(x)
    x = _layers.Dense(classes, name="predictions")(x)
    return keras.Model(image, x, name="googlenet")


def VGG16(input_shape: Shape = None, classes: int = 1000) -> keras.Model:
    """Returns VGG-16 (Simonyan and Zisserman, 2014), with keras.applications' features.

    15,470,264,320 multiply-adds and 138,357,544 parameters at 224 pixels.
    """
    features = keras.applications.VGG16(
        include_top=False, weights=None, input_shape=tuple(input_shape or _DEFAULT)
    )
    x = _dense_as_convolutions(features.output, 7, classes)
    return keras.Model(features.input, x, name="vgg16")


def _convolve(x: Any, filters: int, kernel: int, name: str, **options: Any) -> Any:
    """Returns `x` after a convolution with bias and ReLU."""
    options = {"padding": "same", "activation": "relu", **options}
    return _layers.Conv2D(filters, kernel, name=name, **options)(x)


def _pool(x: Any, name: str) -> Any:
    return _layers.MaxPooling2D(3, 2, padding="same", name=name)(x)


def _pool_up(x: Any, name: str) -> Any:
    """Returns `x` after a 3x3 max-pool of stride 2 whose output size is rounded up.

    At even sizes that is "same" padding; at odd ones "valid" covers all pixels.
    """
    padding = "valid" if x.shape[1] % 2 else "same"
    return _layers.MaxPooling2D(3, 2, padding=padding, name=name)(x)


def _fire(x: Any, squeezed: int, expanded: int, name: str) -> Any:
    x = _convolve(x, squeezed, 1, f"{name}_squeeze")
    paths = [_convolve(x, expanded, size, f"{name}_expand{size}x{size}") for size in (1, 3)]
    return _layers.Concatenate(name=f"{name}_join")(paths)


def _inception(x: Any, channels: Sequence[int], name: str) -> Any:
    one, three_reduced, three, five_reduced, five, pooled = channels
    middle = _convolve(x, three_reduced, 1, f"{name}_3x3_reduce")
    large = _convolve(x, five_reduced, 1, f"{name}_5x5_reduce")
    pool = _layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
    paths = [
        _convolve(x, one, 1, f"{name}_1x1"),
        _convolve(middle, three, 3, f"{name}_3x3"),
        _convolve(large, five, 5, f"{name}_5x5"),
        _convolve(pool, pooled, 1, f"{name}_pool_project"),
    ]
    return _layers.Concatenate(name=f"{name}_join")(paths)


def _dense_as_convolutions(x: Any, size: int, classes: int) -> Any:
    """Returns the logits after dense layers of 4096, 4096 and `classes` units.

    Args:
      x: (batch, height, width, channels), at least `size` high and wide.
      size: height and width of the first dense layer's input.
      classes: number of classes.
    """
    x = _convolve(x, 4096, size, "fc6", padding="valid")
    x = _convolve(x, 4096, 1, "fc7")
    return _average(_convolve(x, classes, 1, "fc8", activation=None))


def _average(x: Any) -> Any:
    return _layers.GlobalAveragePooling2D(name="predictions")(x)
