"""The settings that a detector has besides those of every training; see `trainers.settings`."""

import dataclasses
import re

from common.settings import Settings, setting

TASKS = ("classification", "detection")
NECKS = ("pan", "fpn", "fused")


def neck_strides(neck: str) -> tuple[int, ...]:
    """Returns where a detector with a neck of `NECKS` finds boxes, if nothing else is said."""
    return (16,) if neck == "fused" else (8, 16, 32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectionConfig(Settings):
    """What is learnt of the images, and what a detector has besides its backbone."""

    task: str = setting(
        "classification",
        f"{' or '.join(TASKS)}: the class of an image, or boxes around its objects.",
        choices=TASKS,
    )
    neck: str = setting(
        "pan",
        f"Neck of a detector: {', '.join(NECKS)}; fpn is faster than pan, and fused the fastest.",
        choices=NECKS,
    )
    neck_width: int | None = setting(
        None, "Channels of a detector's neck and head, instead of those of --scale.", minimum=1
    )
    strides: str | None = setting(
        None,
        "Where a detector finds boxes, some of 8,16,32 (default: all; fused: 16); 8,16 saves time "
        "for small images.",
    )
    window_min: float = setting(
        0.6,
        "A detector's training images are windows of at least this share of an image's width and "
        "height,",
        interval="(0, 4]",
    )
    window_max: float = setting(
        1.25, "and at most this share; above 1 there is grey around the image.", interval="(0, 4]"
    )
    mosaic: float = setting(
        0.0,
        "Share of a detector's training images that are put together from windows of four.",
        interval="[0, 1]",
    )
    flip_vertical: bool = setting(
        False,
        "Also turn a detector's training images upside down, where there is no up, as under a "
        "microscope.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strides is not None and not re.fullmatch(r"(8|16|32)(,(16|32)){0,2}", self.strides):
            raise ValueError(f"strides must be some of 8,16,32, got {self.strides!r}")
        if self.window_min > self.window_max:
            raise ValueError(
                f"window_min must be at most window_max ({self.window_max}), got {self.window_min}"
            )
        if self.is_detection:
            return
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                raise ValueError(f"{field.name} is for task=detection only, got {value!r}")

    @property
    def is_detection(self) -> bool:
        """Whether boxes are learnt."""
        return self.task == "detection"

    @property
    def stride_numbers(self) -> tuple[int, ...] | None:
        """The strides, or None for the neck's own."""
        return None if self.strides is None else tuple(map(int, self.strides.split(",")))

    @property
    def all_strides(self) -> tuple[int, ...]:
        """The strides, also if they are the neck's own."""
        return self.stride_numbers or neck_strides(self.neck)
