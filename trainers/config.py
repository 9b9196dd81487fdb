"""Everything that decides a training run, as one frozen value that is saved with the run."""

import contextlib
import dataclasses
import importlib.metadata
import json
import math
import platform
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import files
from common.cli import UserError

MODELS = ("shufflenet_v1", "shufflenet_v2", "mobilenet_v2")
# A model may also be a file: its architecture is trained, from random weights.
MODEL_SUFFIX = ".keras"
PADDINGS = ("same", "symmetric")
CONVENTIONS = ("paper", "megvii")
PREPROCESSINGS = ("tf", "torch", "raw")
CROPS = ("none", "pad", "resized")
SCHEDULES = ("cosine", "linear")
OPTIMIZERS = ("sgd", "muon")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# On this machine alone, and on others.
LOCAL_STRATEGIES = ("one", "mirrored")
STRATEGIES = (*LOCAL_STRATEGIES, "multiworker", "tpu")
CLUSTERS = ("tf_config", "slurm", "kubernetes")

CONFIG_FILE = "config.json"

_CHOICES = {
    "padding": PADDINGS,
    "convention": CONVENTIONS,
    "preprocessing": PREPROCESSINGS,
    "crop": CROPS,
    "schedule": SCHEDULES,
    "optimizer": OPTIMIZERS,
    "precision": PRECISIONS,
    "strategy": STRATEGIES,
    "cluster": CLUSTERS,
}
# Least values; what may be None is checked when it is not.
_MINIMA = {
    "input_size": 32,
    "train_size": 32,
    "train_size_epochs": 0,
    "batch_size": 1,
    "batch_norm_steps": 0,
    "cache_mb": 0,
    "crop_padding": 0,
    "cutmix": 0,
    "devices": 1,
    "epochs": 0,
    "eval_every": 1,
    "checkpoint_every": 1,
    "checkpoint_minutes": 0,
    "learning_rate": 0,
    "mixup": 0,
    "pods": 1,
    "repeated_augmentation": 1,
    "seed": 0,
    "steps": 1,
    "warmup_epochs": 0,
    "weight_decay": 0,
}
# Where a value must lie, as it is told and as it is checked.
_INTERVALS = {
    "crop_min_area": ("(0, 1]", lambda value: 0 < value <= 1),
    "color_jitter": ("[0, 1)", lambda value: 0 <= value < 1),
    "random_erasing": ("[0, 1]", lambda value: 0 <= value <= 1),
    "label_smoothing": ("[0, 1)", lambda value: 0 <= value < 1),
    "ema_decay": ("[0, 1)", lambda value: 0 <= value < 1),
    "bias_rate": ("(0, inf)", lambda value: 0 < value < math.inf),
    "temperature": ("(0, inf)", lambda value: 0 < value < math.inf),
    "distill_weight": ("(0, 1]", lambda value: 0 < value <= 1),
}
_PACKAGES = ("keras", "keras_shufflenet", "numpy", "tensorflow", "tensorflow-datasets")
# An address of --data_service.
DATA_SERVICE = r"grpc://.+:\d+"
# What a resumed run may have another of.
WHERE = ("data_service", "strategy", "devices", "cluster", "pod_label", "pods", "tpu")
_SHUFFLENETS_ONLY = ("padding", "convention")
# Where a run lives, and on what, is no part of what it computes but for the last bits.
NOT_COMPARED = ("workdir", *WHERE)


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
      cache_mb: keep a split of at most so many MiB in memory, decoded where all images of a TFDS
        data set have one size, or as files of an image folder; 0: read again in every epoch.
      data_service: what makes the training batches, see `trainers.data.data_service`: "local" or
        grpc://HOST:PORT; None: this process.
      model: one of `MODELS`, or a `.keras` file whose architecture is to be trained; that starts
        from random weights too.
      scale, groups, padding, convention, small_images: the network; groups for V1 only, padding
        and convention for ShuffleNets. A MobileNetV2 has the multiply-adds of V2 at that scale.
      weights: what to start from instead of random weights, see
        `trainers.networks.starting_weights`.
      whiten_stem: the first convolution has principal components of the training images as its
        kernels and is not trained, see `trainers.networks.whitening`.
      input_size: height and width of the network's input, pixels.
      train_size: height and width in training, pixels; None: input_size.
      train_size_epochs: so many epochs have train_size, and the others input_size: small images
        take less time, and what they teach holds for larger ones. None: all.
      resize_size: evaluation scales the shorter side to this, pixels, and cuts the centre.
      preprocessing: mode of `preprocess_input`.
      crop: "none", "pad" (reflect by crop_padding pixels, cut at random) or "resized" (a
        random part of at least crop_min_area of the area, scaled).
      flip: mirror half of the training images, each of them in every other epoch.
      color_jitter: most that brightness, contrast and saturation change, as a share.
      trivial_augment: one random operation of random strength on each training image.
      random_erasing: share of training images that lose a random rectangle.
      repeated_augmentation: variants of one image that stand in the stream together; 1: off.
      mixup, cutmix: alpha of the share's Beta distribution, see `trainers.data.mixing`; 0: off.
      epochs: passes over the training images; `steps`, when not None, counts instead.
      batch_size: images per step, over all devices.
      learning_rate: peak of the schedule, reached after warmup_epochs.
      schedule: "cosine" or "linear", to 0 at the last step.
      optimizer: "sgd", or "muon" for the kernels of 1x1 convolutions, see
        `trainers.optimization.optimizers`.
      bias_rate: what the learning rate of biases and BatchNorm's offsets is multiplied by.
      nesterov: look ahead with the momentum.
      weight_decay: L2 penalty on kernels, through the momentum as in the papers' code.
      label_smoothing: in [0, 1).
      ema_decay: share that an average of the weights keeps at each step; the average is what is
        evaluated and saved. 0: off.
      batch_norm_steps: batches that BatchNorm's statistics are estimated anew from at the end.
      distill: a teacher, see `trainers.networks.distillation`; None: off.
      temperature, distill_weight: what divides the logits; the teacher's share of the loss.
      precision: of the layers' arithmetic; weights are float32 always.
      seed: of weights, order and augmentation.
      strategy: "one" device, "mirrored" over the devices of this machine, "multiworker" over those
        of several, or "tpu".
      devices: of "mirrored": so many GPUs, or parts of the CPU where there is no GPU.
      cluster: of "multiworker": where it is written which the workers are.
      pod_label, pods: of Kubernetes: how the workers' pods are found, and how many there are.
      tpu: name or address of the TPU; "local": this machine's.
      eval_every, checkpoint_every: steps; None: once per epoch, and with every evaluation.
      checkpoint_minutes: a checkpoint also when the last one is that old; None: never.

    Raises:
      ValueError: a value outside its choices or range, with its name.

    Examples:
      >>> config = make_config("digits", "/tmp/digits", {"batch_size": 32})
    """

    recipe: str
    workdir: str
    dataset: str
    data_dir: str | None = None
    train_split: str = "train"
    eval_split: str = "test"
    verify_images: bool = True
    cache_mb: int = 512
    data_service: str | None = None
    model: str = "shufflenet_v2"
    scale: float = 1.0
    groups: int | None = None
    padding: str = "same"
    convention: str = "paper"
    small_images: bool = False
    weights: str | None = None
    whiten_stem: bool = False
    input_size: int = 224
    train_size: int | None = None
    train_size_epochs: float | None = None
    resize_size: int = 256
    preprocessing: str = "tf"
    crop: str = "resized"
    crop_padding: int = 4
    crop_min_area: float = 0.25
    flip: bool = True
    color_jitter: float = 0.0
    trivial_augment: bool = False
    random_erasing: float = 0.0
    repeated_augmentation: int = 1
    mixup: float = 0.0
    cutmix: float = 0.0
    epochs: float = 1.0
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float = 0.1
    schedule: str = "cosine"
    warmup_epochs: float = 0.0
    optimizer: str = "sgd"
    bias_rate: float = 1.0
    nesterov: bool = True
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    batch_norm_steps: int = 0
    distill: str | None = None
    temperature: float = 2.0
    distill_weight: float = 0.5
    precision: str = "float32"
    seed: int = 0
    strategy: str = "one"
    devices: int = 2
    cluster: str = "tf_config"
    pod_label: str = "job-name=shufflenet"
    pods: int | None = None
    tpu: str = "local"
    eval_every: int | None = None
    checkpoint_every: int | None = None
    checkpoint_minutes: float | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        for name, least in _MINIMA.items():
            value = getattr(self, name)
            if value is not None and not (least <= value < math.inf):
                raise ValueError(f"{name} must be a number of at least {least}, got {value}")
        for name, (interval, holds) in _INTERVALS.items():
            value = getattr(self, name)
            if not holds(value):
                raise ValueError(f"{name} must be in {interval}, got {value}")
        self._check_model()
        self._check_combinations()

    def _check_model(self) -> None:
        if self.model not in MODELS and not self.model.endswith(MODEL_SUFFIX):
            raise ValueError(
                f"model must be one of {', '.join(MODELS)} or a {MODEL_SUFFIX} file, "
                f"got {self.model!r}"
            )
        if self.groups is not None and self.model != "shufflenet_v1":
            raise ValueError(f"groups is for model=shufflenet_v1 only, got {self.groups}")
        if self.model.startswith("shufflenet_"):
            return
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in _SHUFFLENETS_ONLY and value != field.default:
                raise ValueError(f"{field.name} is for ShuffleNets only, got {value!r}")
        if self.model.endswith(MODEL_SUFFIX) and self.precision != "float32":
            raise ValueError(
                f"precision must be float32 where the model is a file, got {self.precision!r}"
            )

    def _check_combinations(self) -> None:
        if self.resize_size < self.input_size:
            raise ValueError(
                f"resize_size must be at least input_size ({self.input_size}), "
                f"got {self.resize_size}"
            )
        smallest = min(self.training_size, self.grown().training_size)
        if self.crop == "pad" and self.crop_padding >= smallest:
            raise ValueError(
                f"crop_padding must be below the training's size ({smallest}), "
                f"got {self.crop_padding}"
            )
        if self.train_size_epochs is not None and self.train_size is None:
            raise ValueError(
                f"train_size_epochs must come with train_size, got {self.train_size_epochs}"
            )
        if self.train_size is not None and self.train_size > self.resize_size:
            raise ValueError(
                f"train_size must be at most resize_size ({self.resize_size}), "
                f"got {self.train_size}"
            )
        if self.batch_size % self.repeated_augmentation:
            raise ValueError(
                f"repeated_augmentation must divide batch_size ({self.batch_size}), "
                f"got {self.repeated_augmentation}"
            )
        if self.whiten_stem and self.weights is not None:
            raise ValueError(
                f"whiten_stem must be off where weights are given, got weights={self.weights!r}"
            )
        if self.steps is None and self.epochs == 0:
            raise ValueError("epochs must be above 0 where steps is not given, got 0.0")
        if self.dataset == "folder" and not self.data_dir:
            raise ValueError("data_dir must name the root of the images with dataset=folder")
        if self.data_service and not re.fullmatch(f"local|{DATA_SERVICE}", self.data_service):
            raise ValueError(
                f"data_service must be local or grpc://HOST:PORT, got {self.data_service!r}"
            )

    @property
    def training_size(self) -> int:
        """Height and width of the images in training, pixels."""
        return self.train_size or self.input_size

    @property
    def training_resize_size(self) -> int:
        """What shows as much of an image at the training's size as the evaluation sees, pixels."""
        return round(self.resize_size * self.training_size / self.input_size)

    def grown(self) -> "TrainConfig":
        """Returns the settings behind the epochs that have a size of their own."""
        if self.train_size_epochs is None:
            return self
        return dataclasses.replace(self, train_size=None, train_size_epochs=None)

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
        with reading_record(workdir, "train again in a new folder") as record:
            return cls(**{**record["config"], "workdir": str(workdir)})

    def differences(self, other: "TrainConfig") -> list[str]:
        """Returns one "name: mine → other's" per setting that changes what a run computes."""
        return [
            f"{field.name}: {getattr(self, field.name)} → {getattr(other, field.name)}"
            for field in dataclasses.fields(self)
            if field.name not in NOT_COMPARED
            and getattr(self, field.name) != getattr(other, field.name)
        ]


@contextlib.contextmanager
def reading_record(workdir: str | Path, remedy: str) -> Iterator[dict[str, Any]]:
    """Gives what `TrainConfig.save` wrote; what the block cannot use of it is told as damage.

    Args:
      workdir: of a training.
      remedy: what else than to restore a damaged file the user can do.

    Raises:
      UserError: the file is missing, is no JSON, or the block raised ValueError, KeyError or
        TypeError.
    """
    path = Path(workdir) / CONFIG_FILE
    try:
        yield json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{workdir} is no training folder: it has no {CONFIG_FILE}; "
            "name the --workdir of a training"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); restore it, or {remedy}") from None


def library_versions() -> dict[str, Any]:
    """Returns the versions that a result depends on, by package; None where not installed."""
    versions: dict[str, Any] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions
