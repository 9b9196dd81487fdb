"""What the network sees of an image, and how training images are varied."""

import dataclasses

from common.settings import Settings, setting

PREPROCESSINGS = ("tf", "torch", "unit", "raw")
CROPS = ("none", "pad", "resized")
# As in an artifact's manifest.
MAX_SIDE = 8192


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageConfig(Settings):
    """The network's input: the size of the images and the values of their pixels."""

    input_size: int = setting(
        224, "Height and width of the network's input, pixels.", minimum=32, maximum=MAX_SIDE
    )
    train_size: int | None = setting(
        None,
        "Height and width of training images, pixels (default: --input_size).",
        minimum=32,
        maximum=MAX_SIDE,
    )
    train_size_epochs: float | None = setting(
        None,
        "Train the first N epochs at --train_size, the rest at --input_size: small images take "
        "less time, and what the network learns from them holds for larger ones. Default: all at "
        "--train_size.",
        minimum=0,
    )
    crop_share: float = setting(
        0.875,
        "Evaluation cuts out the centre of an image, a square with this share of its shorter side, "
        "and scales it to --input_size; 1: all of that side.",
        interval="(0, 1]",
    )
    preprocessing: str = setting(
        "tf",
        f"{', '.join(PREPROCESSINGS)}: pixels are scaled to [-1, 1], or normalized with ImageNet's "
        "mean and standard deviation, or scaled to [0, 1], or unchanged.",
        choices=PREPROCESSINGS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train_size_epochs is not None and self.train_size is None:
            raise ValueError(f"train_size_epochs needs train_size, got {self.train_size_epochs}")
        if self.train_size is not None and self.train_size > self.resize_size:
            raise ValueError(
                f"train_size must be at most input_size / crop_share ({self.resize_size}), "
                f"got {self.train_size}"
            )

    @property
    def resize_size(self) -> int:
        """What evaluation scales an image's shorter side to before it cuts, pixels."""
        return round(self.input_size / self.crop_share)

    @property
    def training_size(self) -> int:
        """Height and width of the images in training, pixels."""
        return self.train_size or self.input_size

    @property
    def training_resize_size(self) -> int:
        """The resize size, pixels, that shows as much of an image in training as in evaluation."""
        return round(self.training_size / self.crop_share)

    def grown(self) -> "ImageConfig":
        """Returns the settings for the epochs after `train_size_epochs`."""
        if self.train_size_epochs is None:
            return self
        return dataclasses.replace(self, train_size=None, train_size_epochs=None)

    def as_training_begins(self) -> "ImageConfig":
        """Returns settings that evaluate at the size of the first training images."""
        size = self.training_size
        return dataclasses.replace(self, input_size=size, train_size=None, train_size_epochs=None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationConfig(Settings):
    """The random changes of training images."""

    crop: str = setting(
        "resized",
        f"{', '.join(CROPS)}: training uses the centre, or pads by --crop_padding and cuts out a "
        "random square, or scales a random part of at least --crop_min_area.",
        choices=CROPS,
    )
    crop_padding: int = setting(
        4,
        "Pixels of reflection added on each side, for --crop=pad.",
        minimum=0,
        maximum=MAX_SIDE,
    )
    crop_min_area: float = setting(
        0.25, "Smallest share of the image's area, for --crop=resized.", interval="(0, 1]"
    )
    flip: bool = setting(True, "Mirror each training image in every other epoch.")
    color_jitter: float = setting(
        0.0,
        "Change brightness, contrast and saturation by at most this share.",
        interval="[0, 1)",
    )
    trivial_augment: bool = setting(False, "TrivialAugment: one random operation per image.")
    random_erasing: float = setting(
        0.0, "Share of images that lose a random rectangle.", interval="[0, 1]"
    )
    repeated_augmentation: int = setting(
        1,
        "Variants of each image in a batch, which then has fewer images; 1: off.",
        minimum=1,
        maximum=1e6,
    )
    mixup: float = setting(
        0.0, "Blend pairs of images: alpha of Beta(alpha, alpha); 0: off.", minimum=0, maximum=1e6
    )
    cutmix: float = setting(
        0.0,
        "Paste boxes into images: alpha, as for --mixup; 0: off. With both, each image gets one "
        "of them.",
        minimum=0,
        maximum=1e6,
    )
