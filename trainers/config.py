"""All settings of a training run, as one frozen value that is saved with the run."""

import contextlib
import dataclasses
import importlib.metadata
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common import files
from common.cli import UserError
from common.storage.readers import DamagedError, read_json
from trainers.settings import (
    AugmentationConfig,
    DataConfig,
    DetectionConfig,
    ImageConfig,
    NetworkConfig,
    OptimizationConfig,
    PlacementConfig,
    RecordConfig,
)

CONFIG_FILE = "config.json"
_PACKAGES = ("keras", "keras_shufflenet", "numpy", "tensorflow", "tensorflow-datasets")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of one training run, in groups; each part of the training gets only its group.

    Flags, recipes and `config.json` are flat: each setting has a name, without its group.

    Args:
      recipe: name of the recipe that the other values come from.
      workdir: folder of the run's results.
      data, network, images, augmentation, detection, optimization, placement, records: see their
        classes.

    Raises:
      ValueError: values that do not fit together; the message names one of them.

    Examples:
      >>> config = make_config("digits", "/tmp/digits", {"batch_size": 32})
      >>> config.optimization.batch_size
      32
    """

    recipe: str
    workdir: str
    data: DataConfig
    network: NetworkConfig
    images: ImageConfig
    augmentation: AugmentationConfig
    detection: DetectionConfig
    optimization: OptimizationConfig
    placement: PlacementConfig
    records: RecordConfig

    def __post_init__(self) -> None:
        if self.network.is_file and self.optimization.precision != "float32":
            raise ValueError(
                "precision must be float32 if the model is a file, "
                f"got {self.optimization.precision!r}"
            )
        smallest = min(self.images.training_size, self.images.grown().training_size)
        if self.augmentation.crop == "pad" and self.augmentation.crop_padding >= smallest:
            raise ValueError(
                f"crop_padding must be below the training size ({smallest}), "
                f"got {self.augmentation.crop_padding}"
            )
        if self.optimization.batch_size % self.augmentation.repeated_augmentation:
            raise ValueError(
                f"repeated_augmentation must divide batch_size ({self.optimization.batch_size}), "
                f"got {self.augmentation.repeated_augmentation}"
            )

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Returns the settings that `values` gives by name, and the defaults of the others.

        Raises:
          ValueError: a value is not allowed; the message names it.
          TypeError: a name is not a setting, or is missing and has no default.
        """
        rest = _with_crop_share(values)
        groups = {
            name: group(**{key: rest.pop(key) for key in _names(group) if key in rest})
            for name, group in GROUPS.items()
        }
        return cls(**groups, **rest)

    @classmethod
    def from_flags(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Does the same for a user's values: a wrong one raises UserError and names its flag."""
        try:
            return cls.from_flat(values)
        except ValueError as error:
            raise UserError(f"--{error}") from None

    def to_flat(self) -> dict[str, Any]:
        """Returns every value by its setting's name."""
        values = dataclasses.asdict(self)
        groups = [values.pop(name) for name in GROUPS]
        return {name: value for group in (values, *groups) for name, value in group.items()}

    def replace(self, **values: Any) -> "TrainConfig":
        """Returns a copy with some settings changed; raises like `from_flat`.

        Examples:
          >>> longer = config.replace(epochs=30, seed=1)
        """
        return self.from_flat({**self.to_flat(), **values})

    def save(self, workdir: str | Path) -> None:
        """Writes every value, the library versions and the command to `workdir/config.json`."""
        record = {
            "config": self.to_flat(),
            "versions": library_versions(),
            "command": shlex.join(sys.orig_argv),
        }
        files.write_json(Path(workdir) / CONFIG_FILE, record)

    def save_data_dir(self) -> None:
        """Writes where the data is now to the run's `config.json`; all else in it stays.

        Raises:
          UserError: the file is missing or damaged.
        """
        with reading_record(self.workdir, "train again in a new folder") as record:
            before = record["config"].get("data_dir")
            record["config"]["data_dir"] = self.data.data_dir
        if self.data.data_dir != before:
            files.write_json(Path(self.workdir) / CONFIG_FILE, record)

    @classmethod
    def load(cls, workdir: str | Path) -> "TrainConfig":
        """Reads the values from `workdir/config.json`.

        The folder may have been moved since, so the result's `workdir` is the argument.

        Raises:
          UserError: the file is missing, damaged, or from an incompatible version.
        """
        with reading_record(workdir, "train again in a new folder") as record:
            return cls.from_flat({**record["config"], "workdir": str(workdir)})

    def moved_to(self, other: "TrainConfig") -> "TrainConfig":
        """Returns a copy that reads its data and runs where `other` does."""
        values = other.to_flat()
        return self.replace(**{name: values[name] for name in WHERE})

    def differences(self, other: "TrainConfig") -> list[str]:
        """Returns "name: mine → other's" for each different setting that changes the result."""
        theirs = other.to_flat()
        return [
            f"{name}: {value} → {theirs[name]}"
            for name, value in self.to_flat().items()
            if name not in NOT_COMPARED and value != theirs[name]
        ]


def _with_crop_share(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values with a crop's share instead of the size that older runs and callers give.

    `resize_size` is what evaluation scales the shorter side to, before it cuts out `input_size`.

    Raises:
      ValueError: it is less than `input_size`.
    """
    rest = dict(values)
    resize_size = rest.pop("resize_size", None)
    if resize_size is not None:
        input_size = rest.get("input_size", ImageConfig.input_size)
        if resize_size < input_size:
            raise ValueError(
                f"resize_size must be at least input_size ({input_size}), got {resize_size}"
            )
        rest["crop_share"] = input_size / resize_size
    return rest


def _names(group: type) -> list[str]:
    return [field.name for field in dataclasses.fields(group)]


# The groups of `TrainConfig` by name.
GROUPS: dict[str, type] = {
    field.name: field.type
    for field in dataclasses.fields(TrainConfig)
    if dataclasses.is_dataclass(field.type)
}
# Every setting in a group; each has a flag.
SETTINGS = tuple(name for group in GROUPS.values() for name in _names(group))
_DEVICES = ("data_service", *_names(PlacementConfig))
# Settings that a resumed run may change; the classes and the files of moved data are compared.
WHERE = ("data_dir", *_DEVICES)
# The folder and the devices of a run do not change its result, except for the last bits.
NOT_COMPARED = ("workdir", *_DEVICES)


def check_new(workdir: str | Path) -> None:
    """Raises UserError if a workdir holds a run already."""
    if (Path(workdir) / CONFIG_FILE).exists():
        raise UserError(
            f"{workdir} already holds a run; add --resume to continue it, or name another --workdir"
        )


@contextlib.contextmanager
def reading_record(workdir: str | Path, remedy: str) -> Iterator[dict[str, Any]]:
    """Yields what `TrainConfig.save` wrote; if the block cannot use it, it is reported as damaged.

    Args:
      workdir: of a training.
      remedy: what the user can do instead of restoring a damaged file.

    Raises:
      UserError: the file is missing or not JSON, or the block raised ValueError, KeyError or
        TypeError.
    """
    path = Path(workdir) / CONFIG_FILE
    try:
        yield read_json(path, f"restore it, or {remedy}")
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{workdir} is not a training folder: it has no {CONFIG_FILE}; "
            "name the --workdir of a training"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(path, str(error), f"restore it, or {remedy}") from None


def library_versions() -> dict[str, Any]:
    """Returns the versions that a result depends on, by package; None if it is not installed."""
    versions: dict[str, Any] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions
