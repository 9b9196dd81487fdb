"""The networks that `converters.plan` knows, by names such as v2-0.5x, v1-1x-g3, v2-8-16-32-64-128.

The numbers in the last name are the widths of a V2: the stem's, the three stages' and the head's.
"-small" at the end of a name: for small images, 32 to 64 pixels, with a stem of stride 1 and no
max-pool.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from common.cli import UserError

if TYPE_CHECKING:
    import keras

_SCALES = {"v1": (0.25, 0.5, 1.0, 1.5, 2.0), "v2": (0.5, 1.0, 1.5, 2.0)}
_GROUPS = (1, 2, 3, 4, 8)
_SMALLER = ("v2-8-16-32-64-128", "v2-12-24-48-96-256", "v2-16-32-64-128-512", "v2-24-32-64-128-512")
DEFAULT_NETWORKS = (
    *_SMALLER,
    *(f"v2-{scale:g}x" for scale in _SCALES["v2"]),
    *(f"v1-{scale:g}x-g{groups}" for scale in _SCALES["v1"] for groups in _GROUPS),
)

# Published top-1 accuracy on ImageNet at 224 pixels: V1 from its paper (Tables 2 and 5), V2 from
# its authors' code (Megvii's ShuffleNet-Series).
PUBLISHED_SIZE = 224
_V1_ERRORS = {
    "0.25x": (57.1, 56.8, 55.0, 54.2, 52.7),
    "0.5x": (45.1, 44.4, 43.2, 41.6, 42.3),
    "1x": (33.6, 32.7, 32.6, 32.8, 32.4),
}
PUBLISHED_ACCURACY = {
    **{
        f"v1-{scale}-g{groups}": 100 - error
        for scale, errors in _V1_ERRORS.items()
        for groups, error in zip(_GROUPS, errors, strict=True)
    },
    "v1-1.5x-g3": 71.5,
    "v1-2x-g3": 73.7,
    "v2-0.5x": 61.1,
    "v2-1x": 69.4,
    "v2-1.5x": 72.6,
    "v2-2x": 75.0,
}
_WIDTHS = re.compile(r"v2-(\d+)-(\d+)-(\d+)-(\d+)-(\d+)")
SMALL = "-small"
# The largest side, in pixels, for which a network for small images is tried unasked.
SMALL_SIDE = 64


def check_name(name: str) -> None:
    """Raises UserError unless `name` is one of the papers' networks or a V2 named by its widths."""
    plain = name.removesuffix(SMALL)
    if plain in DEFAULT_NETWORKS:
        return
    match = _WIDTHS.fullmatch(plain)
    if match is None:
        raise UserError(
            f"there is no network {name!r}; there are {', '.join(DEFAULT_NETWORKS)}, any V2 "
            "named by its widths: v2-STEM-STAGE2-STAGE3-STAGE4-HEAD, and each of these for small "
            f"images: v2-0.5x{SMALL}"
        )
    stem, *stages, head = map(int, match.groups())
    if min(stem, head) < 1 or any(width < 2 or width % 2 for width in stages):
        raise UserError(f"the widths of {name!r} must be above 0, and its stages' widths even")


def build(name: str, size: int, channels: int, classes: int) -> "keras.Model":
    """Returns a network with random weights that returns logits.

    Args:
      name: a name that `check_name` accepts.
      size: height and width of its images, pixels.
      channels: number of channels of its images.
      classes: number of classes.

    Raises:
      UserError: no network has these widths.

    Examples:
      >>> build("v2-8-16-32-64-128", size=96, channels=1, classes=2).count_params()
      30210
    """
    import keras_shufflenet
    from converters.random_weights import random_network

    check_name(name)
    version = {"v1": keras_shufflenet.ShuffleNetV1, "v2": keras_shufflenet.ShuffleNetV2}[name[:2]]
    image = {"input_shape": (size, size, channels), "classes": classes}
    try:
        return random_network(
            lambda: version(**image, classifier_activation=None, **arguments(name))
        )
    except ValueError as error:
        raise UserError(f"{name} cannot be built: {error}") from error


def training_flags(name: str) -> list[str]:
    """Returns the flags of `shufflenet train` for a network.

    Examples:
      >>> training_flags("v1-0.5x-g3")
      ['--model=shufflenet_v1', '--scale=0.5', '--groups=3']
    """
    return flags_of(name[:2], arguments(name))


def flags_of(version: str, given: Mapping[str, Any]) -> list[str]:
    """Returns the flags of `shufflenet train` for arguments of a "v1" or a "v2"."""
    flags = [f"--model=shufflenet_{version}"]
    for argument, value in given.items():
        if value is True:
            flags.append(f"--{argument}")
            continue
        text = ",".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"
        flags.append(f"--{argument}={text}")
    return flags


def arguments(name: str) -> dict[str, Any]:
    """Returns the arguments of the network's function that follow from its name.

    Examples:
      >>> arguments("v2-0.5x-small")
      {'scale': 0.5, 'small_images': True}
    """
    small = {"small_images": True} if name.endswith(SMALL) else {}
    return {**_widths(name.removesuffix(SMALL)), **small}


def _widths(name: str) -> dict[str, Any]:
    if match := _WIDTHS.fullmatch(name):
        stem, *stages, head = map(int, match.groups())
        return {"stem_channels": stem, "stage_channels": tuple(stages), "head_channels": head}
    _, scale, *groups = name.split("-")
    scale_only: dict[str, Any] = {"scale": float(scale.removesuffix("x"))}
    return {**scale_only, "groups": int(groups[0].removeprefix("g"))} if groups else scale_only
