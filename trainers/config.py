"""Everything that decides a training run, as one frozen value that is saved with the run."""

import dataclasses
import importlib.metadata
import json
import math
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

from trainers import files
from trainers.cli import UserError

MODELS = ("shufflenet_v1", "shufflenet_v2")
PADDINGS = ("same", "symmetric")
PREPROCESSINGS = ("tf", "torch")
CROPS = ("none", "pad", "resized")
STRATEGIES = ("one", "mirrored")

CONFIG_FILE = "config.json"

_CHOICES = {
    "model": MODELS,
    "padding": PADDINGS,
    "preprocessing": PREPROCESSINGS,
    "crop": CROPS,
    "strategy": STRATEGIES,
}
# Least values; what may be None is checked when it is not.
_MINIMA = {
    "input_size": 32,
    "batch_size": 1,
    "crop_padding": 0,
    "devices": 1,
    "epochs": 0,
    "eval_every": 1,
    "checkpoint_every": 1,
    "learning_rate": 0,
    "seed": 0,
    "steps": 1,
    "warmup_epochs": 0,
    "weight_decay": 0,
}
_PACKAGES = ("keras", "keras_shufflenet", "numpy", "tensorflow", "tensorflow-datasets")
# Where a run lives is no part of what it computes.
_NOT_COMPARED = ("workdir",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of one training run; each has a flag of the same name in `trainers.train`.

    Args:
      recipe: name of the recipe that the other values started from.
      workdir: folder of the run's results.
      dataset: "digits", "folder" or a TFDS name.
      data_dir: root of the image folder, or where TFDS keeps its data; None: TFDS's default.
      train_split, eval_split: splits in TFDS's notation, such as "train[:90%]".
      verify_images: decode every file of an image folder once and leave out the unreadable.
      model, scale, groups, padding, small_images: the network; groups for V1 only.
      input_size: height and width of the network's input, pixels.
      resize_size: evaluation scales the shorter side to this, pixels, and cuts the centre.
      preprocessing: mode of `preprocess_input`.
      crop: "none", "pad" (reflect by crop_padding pixels, cut at random) or "resized" (a
        random part of at least crop_min_area of the area, scaled).
      flip: mirror half of the training images.
      epochs: passes over the training images; `steps`, when not None, counts instead.
      batch_size: images per step, over all devices.
      learning_rate: peak of the cosine schedule, reached after warmup_epochs.
      weight_decay: L2 penalty on kernels, through the momentum as in the papers' code.
      label_smoothing: in [0, 1).
      seed: of weights, order and augmentation.
      strategy, devices: "one", or "mirrored" over that many GPUs (or CPU threads pools).
      eval_every, checkpoint_every: steps; None: once per epoch, and with every evaluation.

    Raises:
      ValueError: a value outside its choices or range, with its name.

    Example:
      >>> config = make_config("digits", "/tmp/digits", {"batch_size": 32})
    """

    recipe: str
    workdir: str
    dataset: str
    data_dir: str | None = None
    train_split: str = "train"
    eval_split: str = "test"
    verify_images: bool = True
    model: str = "shufflenet_v2"
    scale: float = 1.0
    groups: int | None = None
    padding: str = "same"
    small_images: bool = False
    input_size: int = 224
    resize_size: int = 256
    preprocessing: str = "tf"
    crop: str = "resized"
    crop_padding: int = 4
    crop_min_area: float = 0.25
    flip: bool = True
    epochs: float = 1.0
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float = 0.1
    warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    seed: int = 0
    strategy: str = "one"
    devices: int = 2
    eval_every: int | None = None
    checkpoint_every: int | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        for name, least in _MINIMA.items():
            value = getattr(self, name)
            if value is not None and not (least <= value < math.inf):
                raise ValueError(f"{name} must be a number of at least {least}, got {value}")
        self._check_combinations()

    def _check_combinations(self) -> None:
        if self.groups is not None and self.model != "shufflenet_v1":
            raise ValueError(f"groups is for model=shufflenet_v1 only, got {self.groups}")
        if self.resize_size < self.input_size:
            raise ValueError(
                f"resize_size must be at least input_size ({self.input_size}), "
                f"got {self.resize_size}"
            )
        if self.crop == "pad" and self.crop_padding >= self.input_size:
            raise ValueError(
                f"crop_padding must be below input_size ({self.input_size}), "
                f"got {self.crop_padding}"
            )
        if not 0 < self.crop_min_area <= 1:
            raise ValueError(f"crop_min_area must be in (0, 1], got {self.crop_min_area}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        if self.steps is None and self.epochs == 0:
            raise ValueError("epochs must be above 0 where steps is not given, got 0.0")
        if self.dataset == "folder" and not self.data_dir:
            raise ValueError("data_dir must name the root of the images with dataset=folder")

    def save(self, workdir: str | Path) -> None:
        """Writes every value, the library versions and the command to `workdir/config.json`."""
        record = {
            "config": dataclasses.asdict(self),
            "versions": library_versions(),
            "command": shlex.join(sys.orig_argv),
        }
        files.write_json(Path(workdir) / CONFIG_FILE, record)

    @classmethod
    def load(cls, workdir: str | Path) -> "TrainConfig":
        """Reads the values from `workdir/config.json`.

        The folder may have moved since: the result's `workdir` is the argument.

        Raises:
          UserError: the file is missing, damaged, or from an incompatible version.
        """
        path = Path(workdir) / CONFIG_FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))["config"]
            return cls(**{**values, "workdir": str(workdir)})
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{workdir} is no training folder: it has no {CONFIG_FILE}; "
                "name the --workdir of a training"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} cannot be read ({error}); restore it, or train again in a new folder"
            ) from None

    def differences(self, other: "TrainConfig") -> list[str]:
        """Returns one "name: mine → other's" per setting that changes what a run computes."""
        return [
            f"{field.name}: {getattr(self, field.name)} → {getattr(other, field.name)}"
            for field in dataclasses.fields(self)
            if field.name not in _NOT_COMPARED
            and getattr(self, field.name) != getattr(other, field.name)
        ]


def library_versions() -> dict[str, Any]:
    """Returns the versions that a result depends on, by package; None where not installed."""
    versions: dict[str, Any] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions
