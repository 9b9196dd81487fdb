"""An artifact's manifest: its schema, and how it is read without trust (docs/artifact.md)."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from common.cli import UserError
from common.storage.readers import read_json

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
LABELS = "labels.txt"
SAMPLES = "samples.npz"
# The end of the names of files for other runtimes than LiteRT.
ONNX = ".onnx"

# Far above any real value; a hostile manifest must not be able to fill the memory.
_MAX_MANIFEST_BYTES = 16 * 2**20
_MAX_SIDE = 8192
_MAX_CLASSES = 1_000_000
_MAX_SAMPLES = 1_000_000
_MAX_SAMPLES_BYTES = 2**31
_MAX_NUMBER = 1e6


def _is_int(low: int, high: float) -> Callable[[Any], bool]:
    # bool is an int in Python, but not in a manifest.
    return lambda value: type(value) is int and low <= value <= high


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_shape(value: Any) -> bool:
    side = _is_int(1, _MAX_SIDE)
    return isinstance(value, list) and len(value) == 4 and all(map(side, value))


def _is_channels(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 1 <= len(value) <= _MAX_SIDE
        and all(type(number) in (int, float) and abs(number) <= _MAX_NUMBER for number in value)
    )


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_file_name(value: Any) -> bool:
    """True for a plain name on any system: no folder, no drive, nothing hidden."""
    return (
        _is_text(value)
        and not value.startswith(".")
        and PurePosixPath(value).name == value == PureWindowsPath(value).name
    )


_STORED_FILE = {"sha256": _is_sha256, "bytes": _is_int(1, 2**40)}

# The fields that readers rely on, and their checks; all others are for information only.
_FIELDS: dict[str, Callable[[Any], bool]] = {
    "name": _is_text,
    "model": _is_object,
    "training": _is_object,
    "classes": _is_int(1, _MAX_CLASSES),
    "input": _is_object,
    "labels": _is_object,
    "samples": lambda value: value is None or _is_object(value),
    "files": lambda value: _is_object(value) and bool(value),
}
_INPUT_FIELDS = {"shape": _is_shape, "preprocessing": _is_object}
# How a photograph becomes the images of `shape`; artifacts of older versions lack it.
_PHOTOGRAPH_FIELDS = {
    "channels": lambda value: value in (["red", "green", "blue"], ["grey"]),
    "orientation": lambda value: value in ("exif", "stored"),
    "resize": _is_object,
    "crop": lambda value: value == "center",
}
_RESIZE_FIELDS = {
    "shorter_side": _is_int(1, _MAX_SIDE),
    "filter": lambda value: value == "triangle",
    "antialias": lambda value: type(value) is bool,
}
_PREPROCESSING_FIELDS = {"scale": _is_channels, "offset": _is_channels}
_SAMPLES_FIELDS = {**_STORED_FILE, "images": _is_int(1, _MAX_SAMPLES)}
_FILE_FIELDS = {
    **_STORED_FILE,
    "graph": _is_text,
    "quantization": _is_text,
    "input": _is_object,
    "output": _is_object,
    "operators": _is_object,
}

_COMPILED_FIELDS = {**_STORED_FILE, "name": _is_text}
_COUNTS = _is_int(0, 2**40)
_ARENA_FIELDS = {"measured_bytes": _COUNTS, "margin_bytes": _COUNTS}
_PREDICTION_FIELDS = {"operators": _COUNTS, "mapped": _COUNTS, "certain": _COUNTS}
# What an estimate in milliseconds is made of; artifacts of older versions lack the clock.
_CLOCK_FIELDS = {"clock_hz": _is_int(1, 2**40)}
_ESTIMATE_FIELDS = {"cycles": {"total": _COUNTS}, "memory_bytes": {"sram": _COUNTS}}
_LOG_FIELDS = {"total": _COUNTS, "mapped": _COUNTS, "on_cpu": _COUNTS}
# What a device's compiler adds to a file's entry; files that were not compiled lack the field.
_DEVICE_FIELDS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "edgetpu": {
        "status": lambda value: value in ("compiled", "not compiled", "failed"),
        "prediction": _is_object,
        "log": lambda value: value is None or _is_object(value),
        "compiled": lambda value: value is None or _is_object(value),
    },
    "ethosu": {
        "accelerator": _is_text,
        "cycles": _is_object,
        "memory_bytes": _is_object,
        "compiled": _is_object,
    },
    "micro": {
        "status": lambda value: value in ("written", "not written"),
        "folder": lambda value: value is None or _is_file_name(value),
        "arena": lambda value: value is None or _is_object(value),
    },
}


@dataclass(frozen=True)
class StoredFile:
    """A file of the artifact as the manifest describes it."""

    name: str
    sha256: str
    bytes: int


def stored_files(manifest: dict) -> list[StoredFile]:
    """Returns every file that a checked manifest lists."""
    entries = {LABELS: manifest["labels"], **manifest["files"]}
    if manifest["samples"] is not None:
        entries[SAMPLES] = manifest["samples"]
    for entry in manifest["files"].values():
        for compiled in _compiled_files(entry):
            entries[compiled["name"]] = compiled
    return [StoredFile(name, entry["sha256"], entry["bytes"]) for name, entry in entries.items()]


def entries_of(manifest: dict) -> set[str]:
    """Returns the names of an artifact's files and of its folders of firmware."""
    firmware = (
        entry["micro"]["folder"] for entry in manifest["files"].values() if "micro" in entry
    )
    return {stored.name for stored in stored_files(manifest)} | set(filter(None, firmware))


def read_manifest(folder: Path) -> dict:
    """Reads and checks `manifest.json` of an artifact.

    Raises:
      UserError: it is missing, is not JSON or has an unknown schema version, or a field is missing
        or does not follow the schema; the message names the field.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise UserError(f"artifact {folder} is not a folder; make one with converters.convert")
    if not path.is_file():
        raise UserError(f"{folder} is not an artifact: {MANIFEST} is missing; name another folder")
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise UserError(f"{path} is too large for a manifest; convert the model again")
    manifest = read_json(path, "convert the model again")
    check_manifest(manifest, path)
    return manifest


def check_manifest(manifest: Any, path: Path) -> None:
    """Raises UserError, naming `path` and the field, unless the manifest follows the schema."""
    if not isinstance(manifest, dict):
        raise UserError(f"{path} is not a JSON object; convert the model again")
    version = manifest.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema version {version!r}, but this program reads {SCHEMA_VERSION}; "
            "convert the model again, or use the program that wrote it"
        )
    _check_fields(manifest, _FIELDS, path, "")
    _check_fields(manifest["input"], _INPUT_FIELDS, path, "input.")
    preprocessing = manifest["input"]["preprocessing"]
    _check_fields(preprocessing, _PREPROCESSING_FIELDS, path, "input.preprocessing.")
    _check_photograph(manifest["input"], path)
    channels = manifest["input"]["shape"][-1]
    if {len(preprocessing[key]) for key in _PREPROCESSING_FIELDS} - {1, channels}:
        raise _bad_field(path, "input.preprocessing", preprocessing)
    _check_fields(manifest["labels"], _STORED_FILE, path, "labels.")
    samples = manifest["samples"]
    if samples is not None:
        _check_fields(samples, _SAMPLES_FIELDS, path, "samples.")
        if samples["images"] * math.prod(manifest["input"]["shape"]) > _MAX_SAMPLES_BYTES:
            raise _bad_field(path, "samples.images", samples["images"])
    for name, entry in manifest["files"].items():
        _check_name(name, path, (".tflite", ONNX))
        if not _is_object(entry):
            raise _bad_field(path, f"files[{name!r}]", entry)
        _check_fields(entry, _FILE_FIELDS, path, f"files[{name!r}].")
        _check_devices(entry, path, f"files[{name!r}].")
    _check_compiled_names(manifest["files"], path)


def _check_photograph(fields: dict, path: Path) -> None:
    if not _PHOTOGRAPH_FIELDS.keys() & fields.keys():
        return
    _check_fields(fields, _PHOTOGRAPH_FIELDS, path, "input.")
    _check_fields(fields["resize"], _RESIZE_FIELDS, path, "input.resize.")
    if len(fields["channels"]) != fields["shape"][-1]:
        raise _bad_field(path, "input.channels", fields["channels"])


def _check_name(name: str, path: Path, formats: tuple[str, ...] = (".tflite",)) -> None:
    if not _is_file_name(name) or not name.endswith(formats):
        raise UserError(
            f"{path} lists a file {name!r} that is not a plain {' or '.join(formats)} name; "
            "do not use this artifact"
        )


def _check_devices(entry: dict, path: Path, where: str) -> None:
    for device in _DEVICE_FIELDS.keys() & entry.keys():
        fields, place = entry[device], f"{where}{device}."
        if not _is_object(fields):
            raise _bad_field(path, place[:-1], fields)
        _check_fields(fields, _DEVICE_FIELDS[device], path, place)
        if "clock_hz" in fields:
            _check_fields(fields, _CLOCK_FIELDS, path, place)
            for key, checks in _ESTIMATE_FIELDS.items():
                _check_fields(fields[key], checks, path, f"{place}{key}.")
        inner = {
            "prediction": _PREDICTION_FIELDS,
            "log": _LOG_FIELDS,
            "compiled": _COMPILED_FIELDS,
            "arena": _ARENA_FIELDS,
        }
        for key in inner.keys() & fields.keys():
            if fields[key] is not None:
                _check_fields(fields[key], inner[key], path, f"{place}{key}.")


def _check_compiled_names(files: dict[str, dict], path: Path) -> None:
    """Raises UserError unless every compiled file has a plain and unique name."""
    names = [compiled["name"] for entry in files.values() for compiled in _compiled_files(entry)]
    for name in names:
        _check_name(name, path)
        if name in files or names.count(name) > 1:
            raise _bad_field(path, "files: two of them share a name", name)


def _compiled_files(entry: dict) -> list[dict]:
    """Returns the compiled files that a file's entry lists."""
    made = [entry[device].get("compiled") for device in _DEVICE_FIELDS if device in entry]
    return [compiled for compiled in made if compiled is not None]


def _check_fields(mapping: dict, fields: dict, path: Path, where: str) -> None:
    for key, is_good in fields.items():
        if key not in mapping:
            raise UserError(f"{path} lacks the field {where}{key}; convert the model again")
        if not is_good(mapping[key]):
            raise _bad_field(path, where + key, mapping[key])


def _bad_field(path: Path, field: str, value: Any) -> UserError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return UserError(f"{path} has an unusable {field}: {shown}; convert the model again")
