"""The settings of `converters.quantize`, and the files that its training leaves in its folder."""

import dataclasses
import hashlib
import importlib.metadata
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from common import files
from common.cli import UserError, check_bounds
from common.settings import setting
from common.storage.readers import DamagedError, read_json
from converters.graph.targets import LOWERINGS
from converters.options import MAX_IMAGES, METHODS, MIN_CALIBRATION_IMAGES
from trainers.config import CONFIG_FILE, TrainConfig, library_versions
from trainers.settings import MODEL_SUFFIX

# Files in the training's folder.
WEIGHTS_FILE = "fake_quant.weights.h5"
BEST_WEIGHTS_FILE = "best.weights.h5"
RANGES_FILE = "ranges.json"
_PACKAGES = ("tf_keras", "tensorflow-model-optimization")
_REMEDY = "restore it, or quantize into a new folder"


@dataclasses.dataclass(frozen=True, kw_only=True)
class QatConfig:
    """The settings of a quantization-aware training that are not in `TrainConfig`.

    Each except `model`, the workdir of the float training or a classifier's `.keras` file, has a
    flag in `converters.quantize`.

    Raises:
      UserError: a value is outside its choices or range; the message names its flag.
    """

    model: Path
    target: str = setting("cpu", f"Target of the graph: {', '.join(LOWERINGS)} (default cpu).")
    ranges: str = setting(
        "mse", f"How calibration chooses ranges: {', '.join(METHODS)} (default mse)."
    )
    calibration_images: int = setting(
        256, "Number of training images for the ranges (default 256)."
    )
    distill: bool = setting(False, "Also learn from the float model's output.")
    temperature: float = setting(2.0, "For --distill: divides the logits (default 2).")
    distill_weight: float = setting(0.5, "Share of --distill in the loss (default 0.5).")

    def __post_init__(self) -> None:
        for name, choices in {"target": LOWERINGS, "ranges": METHODS}.items():
            value = getattr(self, name)
            if value not in choices:
                raise UserError(f"--{name} must be one of {', '.join(choices)}; received {value!r}")
        check_bounds(
            "calibration_images", self.calibration_images, MIN_CALIBRATION_IMAGES, MAX_IMAGES
        )
        if not 0 < self.temperature <= 1e6:
            raise UserError(f"--temperature must be in (0, 1e6]; received {self.temperature}")
        if not 0 < self.distill_weight <= 1:
            raise UserError(f"--distill_weight must be in (0, 1]; received {self.distill_weight}")

    def save(self, config: TrainConfig, sha256: str) -> None:
        """Writes `config.json` into the training's folder.

        Args:
          config: the training's settings.
          sha256: the hash of the float model's file.
        """
        # Relative, so that both folders can move together.
        model = os.path.relpath(self.model, config.workdir)
        versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
        record = {
            "config": config.to_flat(),
            "quantize": {**dataclasses.asdict(self), "model": model, "model_sha256": sha256},
            "versions": {**library_versions(), **versions},
            "command": shlex.join(sys.orig_argv),
        }
        files.write_json(Path(config.workdir) / CONFIG_FILE, record)

    @classmethod
    def load(cls, folder: str | Path) -> "QatConfig":
        """Reads the settings from a folder.

        Raises:
          UserError: `folder` is not of a quantization-aware training, or is damaged, or the float
            model has changed since.
        """
        TrainConfig.load(folder)
        path = Path(folder) / CONFIG_FILE
        values = read_json(path, _REMEDY)
        if "quantize" not in values:
            raise UserError(
                f"{folder} is not a quantization-aware training; name one of shufflenet quantize"
            )
        try:
            section = dict(values["quantize"])
            sha256 = section.pop("model_sha256")
            model = Path(os.path.normpath(Path(folder) / section.pop("model")))
            config = cls(model=model, **section)
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(path, repr(error), _REMEDY) from None
        if model_sha256(model) != sha256:
            raise UserError(
                f"{model_file(model)} has changed since {folder} was trained from it; "
                "restore it, or quantize again in a new folder"
            )
        return config

    def differences(self, other: "QatConfig") -> list[str]:
        """Returns one "name: mine → other's" per setting that changes what a run computes."""
        return [
            f"{field.name}: {getattr(self, field.name)} → {getattr(other, field.name)}"
            for field in dataclasses.fields(self)
            if field.name != "model" and getattr(self, field.name) != getattr(other, field.name)
        ]


def model_file(model: Path) -> Path:
    """Returns the file of a float model that is given by its workdir, or by its `.keras` file."""
    return model if is_file(model) else model / "model.keras"


def is_file(model: Path) -> bool:
    """Returns whether a model is given by its `.keras` file, not by its workdir."""
    return model.suffix == MODEL_SUFFIX


def default_folder(model: Path) -> Path:
    """Returns where a quantization-aware training of a model is, if nothing else is said.

    Examples:
      >>> default_folder(Path("work")), default_folder(Path("net.keras"))
      (PosixPath('work/qat'), PosixPath('net_qat'))
    """
    return model.with_name(f"{model.stem}_qat") if is_file(model) else model / "qat"


def model_sha256(model: Path) -> str:
    """Returns the SHA-256 of a model's file, in hexadecimal digits.

    Raises:
      UserError: the file does not exist.
    """
    path = model_file(model)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{path} is missing; finish the training (shufflenet train), or check the path"
        ) from None


def save_ranges(folder: Path, method: str, ranges: dict[str, tuple[float, float]]) -> None:
    """Writes the ranges of the activations to `ranges.json`, without rounding."""
    files.write_json(folder / RANGES_FILE, {"method": method, "ranges": ranges})


def load_ranges(folder: Path) -> dict[str, tuple[float, float]]:
    """Reads `ranges.json`: (minimum, maximum) by the name of the scale.

    Raises:
      UserError: the file is missing or damaged.
    """
    path = folder / RANGES_FILE
    try:
        values: dict[str, Any] = read_json(path, _REMEDY)["ranges"]
        ranges = {name: (float(low), float(high)) for name, (low, high) in values.items()}
        for name, (low, high) in ranges.items():
            if not -float("inf") < low <= 0 <= high < float("inf") or low == high:
                raise ValueError(f"{name}: [{low}, {high}]")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {_REMEDY}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(path, str(error), _REMEDY) from None
    return ranges
