"""The networks of V1's Tables 5, 6 and 8, and later ones, for any image size."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from converters.conversion_cache import Network
from experiments.harness.experiment import GRAPHS
from experiments.networks import classifiers
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2
from keras_shufflenet.shufflenet_v1 import SHALLOW_UNITS

# Height and width in pixels, as in V1's Table 8.
SIZES = ((224, 224), (480, 640), (720, 1280))


@dataclass(frozen=True)
class Model:
    """A network of the tables.

    Attributes:
      build: called with `input_shape`.
      error: top-1 error on ImageNet in percent, from V1's tables; V2's from Megvii's public code,
        MobileNet V2's and V3's from their papers.
      millions: millions of multiply-adds at 224 pixels, from the same sources; V2's from its paper.
      sizes: at which it is measured.
      graphs: both for ShuffleNets, only the canonical one for others.
      milliseconds: V1's Table 8, on a Snapdragon 820, in the order of `SIZES`; may be empty.
    """

    build: Callable[..., keras.Model]
    error: float
    millions: float
    sizes: tuple[tuple[int, int], ...] = SIZES
    graphs: tuple[str, ...] = GRAPHS[:1]
    milliseconds: tuple[float, ...] = ()


_SOURCES = ("experiments/networks/models.py", "experiments/networks/classifiers.py")


def network(name: str, size: tuple[int, int] = SIZES[0], model: Model | None = None) -> Network:
    """Returns a network to convert, once for all experiments.

    Args:
      name: a key of `MODELS`, or any other name if the model is given.
      size: height and width in pixels.
      model: None: the one in `MODELS`.

    Examples:
      >>> convert_all([network("v2-1x")], Path("build/experiments"))
    """
    model = model or MODELS[name]
    return Network(
        name=f"{name.replace('-', '_')}_{size[0]}x{size[1]}",
        build=functools.partial(model.build, input_shape=(*size, 3)),
        sources=_SOURCES,
        graphs=model.graphs,
    )


def _v1(scale: float, groups: int = 3, **arguments: Any) -> Callable[..., keras.Model]:
    return functools.partial(ShuffleNetV1, scale, groups, classifier_activation=None, **arguments)


def _v2(scale: float) -> Callable[..., keras.Model]:
    return functools.partial(ShuffleNetV2, scale, classifier_activation=None)


def application(name: str, **arguments: Any) -> Callable[..., keras.Model]:
    """Returns a builder of a network of keras.applications, from pixels in [-1, 1] to logits."""

    def build(input_shape: Sequence[int]) -> keras.Model:
        make = getattr(keras.applications, name)
        return make(
            input_shape=tuple(input_shape), weights=None, classifier_activation=None, **arguments
        )

    return build


# For networks of which the paper's tables have only accuracy and multiply-adds.
_ONE = SIZES[:1]
MODELS = {
    "v1-0.5x-g3": Model(_v1(0.5), 43.2, 38, graphs=GRAPHS, milliseconds=(15.2, 87.4, 260.1)),
    "v1-1x-g3": Model(_v1(1.0), 32.6, 140, graphs=GRAPHS, milliseconds=(37.8, 222.2, 684.5)),
    "v1-2x-g3": Model(_v1(2.0), 26.3, 524, graphs=GRAPHS, milliseconds=(108.8, 617.0, 1857.6)),
    "v1-0.5x-g3-shallow": Model(
        _v1(0.5, units_per_stage=SHALLOW_UNITS), 42.8, 40, _ONE, graphs=GRAPHS
    ),
    "v1-0.5x-g4": Model(_v1(0.5, 4), 41.6, 38, _ONE, graphs=GRAPHS),
    "v1-1x-g8": Model(_v1(1.0, 8), 32.4, 140, _ONE, graphs=GRAPHS),
    "v1-1.5x-g3": Model(_v1(1.5), 28.5, 292, _ONE, graphs=GRAPHS),
    "v2-0.5x": Model(_v2(0.5), 38.9, 41, graphs=GRAPHS),
    "v2-1x": Model(_v2(1.0), 30.6, 146, graphs=GRAPHS),
    "v2-1.5x": Model(_v2(1.5), 27.4, 299, graphs=GRAPHS),
    "v2-2x": Model(_v2(2.0), 25.0, 591, graphs=GRAPHS),
    "mobilenet-1.0": Model(
        application("MobileNet"), 29.4, 569, milliseconds=(110.0, 612.0, 1879.2)
    ),
    "mobilenet-0.75": Model(application("MobileNet", alpha=0.75), 31.6, 325, _ONE),
    "mobilenet-0.5": Model(application("MobileNet", alpha=0.5), 36.3, 149, _ONE),
    "mobilenet-0.25": Model(application("MobileNet", alpha=0.25), 49.4, 41, _ONE),
    "mobilenet-v2": Model(application("MobileNetV2"), 28.0, 300),
    "mobilenet-v3-small": Model(
        application("MobileNetV3Small", include_preprocessing=False), 32.6, 56
    ),
    "mobilenet-v3-large": Model(
        application("MobileNetV3Large", include_preprocessing=False), 24.8, 219
    ),
    "alexnet": Model(classifiers.AlexNet, 42.8, 720, milliseconds=(184.0, 1156.7, 3633.9)),
    "squeezenet": Model(classifiers.SqueezeNet, 42.5, 833),
    "googlenet": Model(classifiers.GoogLeNet, 31.3, 1500),
    "vgg-16": Model(classifiers.VGG16, 28.5, 15300),
}
