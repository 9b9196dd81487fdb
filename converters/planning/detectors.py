"""The detectors that `converters.plan` knows: a backbone and a neck, such as v2-0.5x-pan.

The backbone is named as in `networks`, but a V2 named by its widths lacks the last one, the head's,
which detectors do not have: v2-8-16-32-64. A number after the neck is its width: v2-1x-fpn64.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from common.cli import UserError
from converters.planning import networks
from trainers.settings import NECKS, neck_strides

if TYPE_CHECKING:
    import keras

# Sizes are multiples of it.
COARSEST = 32
# The scale of `--recipe=detection`, which gives the neck's width where a name has none.
_SCALE = 0.5
_NAME = re.compile(rf"(.+)-({'|'.join(NECKS)})(\d*)")
_BODIES = ("v2-8-16-32-64", "v2-16-32-64-128", "v2-0.5x", "v2-1x", "v2-1.5x", "v2-2x")
# The narrow ones are slowed down less by a narrow neck.
_NARROW = {"v2-8-16-32-64": "32", "v2-16-32-64-128": "48"}
DEFAULT_DETECTORS = tuple(
    f"{body}-{neck}{_NARROW.get(body, '')}" for body in _BODIES for neck in NECKS
)
# Any width will do for a head that is not used.
_UNUSED_HEAD = 8


class Parts(NamedTuple):
    """What a detector's name says.

    Attributes:
      backbone: name of a network of `networks`, of which only the maps matter.
      neck: one of NECKS.
      width: of neck and head; None: that of the scale.
    """

    backbone: str
    neck: str
    width: int | None


def parts(name: str) -> Parts:
    """Returns what a detector's name says.

    Raises:
      UserError: there is no such detector.

    Examples:
      >>> parts("v2-16-32-64-128-pan48")
      Parts(backbone='v2-16-32-64-128-8', neck='pan', width=48)
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UserError(
            f"there is no detector {name!r}; there are {', '.join(DEFAULT_DETECTORS)}, any V1 or "
            f"V2 with a neck ({', '.join(NECKS)}) such as v1-0.5x-g3-pan, and any V2 named by its "
            "widths, with the neck's width after the neck: v2-STEM-STAGE2-STAGE3-STAGE4-pan64"
        )
    body, neck, digits = match.groups()
    if body.endswith(networks.SMALL):
        raise UserError(
            f"{name!r} is for small images, but a detector needs maps of stride 32; leave out "
            f"{networks.SMALL}"
        )
    if re.fullmatch(r"v2(-\d+){4}", body):
        body += f"-{_UNUSED_HEAD}"
    networks.check_name(body)
    if digits and int(digits) < 1:
        raise UserError(f"the width of the neck of {name!r} must be above 0")
    return Parts(body, neck, int(digits) if digits else None)


def all_strides(neck: str, strides: Sequence[int] | None) -> tuple[int, ...]:
    """Returns where a detector finds boxes; None: where its neck does."""
    return tuple(strides or neck_strides(neck))


def check_strides(neck: str, strides: Sequence[int] | None) -> None:
    """Raises UserError for strides that a neck does not have."""
    known = neck_strides(neck)
    if strides is None or (strides and strides == tuple(one for one in known if one in strides)):
        return
    raise UserError(
        f"--strides must be some of {','.join(map(str, known))}, ascending, with the neck {neck}; "
        f"received {','.join(map(str, strides))}"
    )


def body_arguments(name: str) -> dict[str, Any]:
    """Returns the arguments of the backbone's function that follow from a detector's name."""
    given = networks.arguments(parts(name).backbone)
    given.pop("head_channels", None)
    return given


def neck_width(name: str) -> int:
    """Returns the width of a detector's neck and head."""
    from keras_shufflenet.detector import WIDTHS

    return parts(name).width or WIDTHS[body_arguments(name).get("scale", _SCALE)]


def build(
    name: str, size: int, channels: int, classes: int, strides: Sequence[int] | None
) -> "keras.Model":
    """Returns a detector with random weights.

    Args:
      name: a name that `parts` accepts.
      size: height and width of its images, a multiple of 32 pixels.
      channels: number of channels of its images.
      classes: number of classes.
      strides: where it finds boxes; None: where its neck does.

    Raises:
      UserError: no network has these widths.

    Examples:
      >>> build("v2-0.5x-pan", size=96, channels=3, classes=3, strides=(8, 16)).output_shape
      (None, 180, 7)
    """
    import keras_shufflenet
    from converters.random_weights import random_network

    body = {"v1": keras_shufflenet.ShuffleNetV1, "v2": keras_shufflenet.ShuffleNetV2}[name[:2]]
    image = (size, size, channels)

    def make() -> "keras.Model":
        backbone = body(input_shape=image, include_top=False, **body_arguments(name))
        return keras_shufflenet.ShuffleNetDetector(
            classes=classes,
            neck=parts(name).neck,
            width=neck_width(name),
            strides=strides,
            backbone=backbone,
        )

    try:
        return random_network(make)
    except ValueError as error:
        raise UserError(f"{name} cannot be built: {error}") from error


def training_flags(name: str, strides: Sequence[int] | None) -> list[str]:
    """Returns the flags of `shufflenet train --recipe=detection` for a detector.

    Examples:
      >>> training_flags("v2-1x-fpn64", None)
      ['--model=shufflenet_v2', '--scale=1', '--neck=fpn', '--neck_width=64']
    """
    found = parts(name)
    flags = networks.flags_of(name[:2], body_arguments(name))
    flags.append(f"--neck={found.neck}")
    if found.width:
        flags.append(f"--neck_width={found.width}")
    if strides:
        flags.append(f"--strides={','.join(map(str, strides))}")
    return flags
