"""An artifact's manifest: its schema, and how it is read without trust (docs/artifact.md).

Older manifests, of schema 1, are read as if they were of schema 2.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.cli import UserError
from common.detection import truth_arrays
from common.detection.decoding import wrong_field
from common.storage.fields import (
    bad_field,
    check_fields,
    is_file_name,
    is_int,
    is_object,
    is_object_or_null,
    is_sha256,
    is_text,
)
from common.storage.readers import read_json

SCHEMA_VERSION = 2
CLASSIFICATION, DETECTION, OTHER = TASKS = ("classification", "detection", "other")
MANIFEST = "manifest.json"
LABELS = "labels.txt"
SAMPLES = "samples.npz"
# The array of samples.npz with the pixels of a network's only input.
PIXELS = "images"
# The end of the names of files for other runtimes than LiteRT.
ONNX = ".onnx"

# Far above any real value; a hostile manifest must not be able to fill the memory.
_MAX_MANIFEST_BYTES = 16 * 2**20
_MAX_SIDE = 8192
_MAX_EXTENT = 2**24
_MAX_AXES = 8
_MAX_TENSORS = 1000
_MAX_CLASSES = 1_000_000
_MAX_SAMPLES = 1_000_000
_MAX_SAMPLES_BYTES = 2**31
_MAX_NUMBER = 1e6


def _is_shape(value: Any) -> bool:
    extent = is_int(1, _MAX_EXTENT)
    return isinstance(value, list) and len(value) <= _MAX_AXES and all(map(extent, value))


def _is_image_shape(value: Any) -> bool:
    return _is_shape(value) and len(value) == 4 and max(value) <= _MAX_SIDE


def _is_channels(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 1 <= len(value) <= _MAX_SIDE
        and all(type(number) in (int, float) and abs(number) <= _MAX_NUMBER for number in value)
    )


def _is_objects(value: Any) -> bool:
    return (
        isinstance(value, list) and 1 <= len(value) <= _MAX_TENSORS and all(map(is_object, value))
    )


_STORED_FILE = {"sha256": is_sha256, "bytes": is_int(1, 2**40)}

# The fields that readers rely on, and their checks; all others are for information only.
_FIELDS: dict[str, Callable[[Any], bool]] = {
    "name": is_text,
    "model": is_object,
    "training": is_object,
    "task": lambda value: value in TASKS,
    "inputs": _is_objects,
    "outputs": _is_objects,
    "labels": is_object_or_null,
    "samples": is_object_or_null,
    "files": lambda value: is_object(value) and bool(value),
}
# The fields of schema 1 that schema 2 has elsewhere.
_OLD_FIELDS: dict[str, Callable[[Any], bool]] = {
    "classes": is_int(1, _MAX_CLASSES),
    "input": is_object,
    "labels": is_object,
    "samples": is_object_or_null,
    "files": is_object,
}
_OLD_INPUT_FIELDS = {"shape": _is_image_shape, "preprocessing": is_object}
_OLD_FILE_FIELDS = {"input": is_object, "output": is_object}
_OUTPUT_FIELDS = {"name": is_text, "shape": _is_shape}
_INPUT_FIELDS = {**_OUTPUT_FIELDS, "preprocessing": is_object_or_null}
# How a photograph becomes the images of `shape`; artifacts of older versions lack it.
_PHOTOGRAPH_FIELDS = {
    "channels": lambda value: value in (["red", "green", "blue"], ["grey"]),
    "orientation": lambda value: value in ("exif", "stored"),
    "resize": is_object,
    "crop": lambda value: value in ("center", None),
}
_FILTER_FIELDS = {
    "filter": lambda value: value == "triangle",
    "antialias": lambda value: type(value) is bool,
}
# By `crop`: without one, the whole image is scaled, whatever its shape.
_RESIZE_FIELDS = {
    "center": {"shorter_side": is_int(1, _MAX_SIDE), **_FILTER_FIELDS},
    None: {"height": is_int(1, _MAX_SIDE), "width": is_int(1, _MAX_SIDE), **_FILTER_FIELDS},
}
_PREPROCESSING_FIELDS = {"scale": _is_channels, "offset": _is_channels}
_SAMPLES_FIELDS = {**_STORED_FILE, "images": is_int(1, _MAX_SAMPLES), "arrays": is_object}
# The types of arrays that have no other.
_SAMPLE_DTYPES = {PIXELS: "uint8", "labels": "int32", **truth_arrays.DTYPES}
# An array of the samples: the shape is of one sample.
_ARRAY_FIELDS = {
    "shape": _is_shape,
    "dtype": lambda value: value in ("uint8", "int8", "int16", "int32", "int64", "float32"),
}
_FILE_FIELDS = {
    **_STORED_FILE,
    "graph": is_text,
    "quantization": is_text,
    "inputs": _is_objects,
    "outputs": _is_objects,
    "operators": is_object,
}

_COMPILED_FIELDS = {**_STORED_FILE, "name": is_text}
_COUNTS = is_int(0, 2**40)
_ARENA_FIELDS = {"measured_bytes": _COUNTS, "margin_bytes": _COUNTS}
_PREDICTION_FIELDS = {"operators": _COUNTS, "mapped": _COUNTS, "certain": _COUNTS}
# What an estimate in milliseconds is made of; artifacts of older versions lack the clock.
_CLOCK_FIELDS = {"clock_hz": is_int(1, 2**40)}
_ESTIMATE_FIELDS = {"cycles": {"total": _COUNTS}, "memory_bytes": {"sram": _COUNTS}}
_LOG_FIELDS = {"total": _COUNTS, "mapped": _COUNTS, "on_cpu": _COUNTS}
# What a device's compiler adds to a file's entry; files that were not compiled lack the field.
_DEVICE_FIELDS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "edgetpu": {
        "status": lambda value: value in ("compiled", "not compiled", "failed"),
        "prediction": is_object,
        "log": lambda value: value is None or is_object(value),
        "compiled": lambda value: value is None or is_object(value),
    },
    "ethosu": {
        "accelerator": is_text,
        "cycles": is_object,
        "memory_bytes": is_object,
        "compiled": is_object,
    },
    "micro": {
        "status": lambda value: value in ("written", "not written"),
        "folder": lambda value: value is None or is_file_name(value),
        "arena": lambda value: value is None or is_object(value),
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
    entries = {LABELS: manifest["labels"], **manifest["files"], SAMPLES: manifest["samples"]}
    entries = {name: entry for name, entry in entries.items() if entry is not None}
    for entry in manifest["files"].values():
        for compiled in _compiled_files(entry):
            entries[compiled["name"]] = compiled
    return [StoredFile(name, entry["sha256"], entry["bytes"]) for name, entry in entries.items()]


def sample_array(manifest: dict, index: int) -> str:
    """Returns the name of the array of samples.npz that has the samples of an input."""
    samples = manifest["samples"]
    if samples is not None:
        return PIXELS if PIXELS in samples["arrays"] else f"input_{index}"
    only_image = len(manifest["inputs"]) == 1 and manifest["inputs"][0]["preprocessing"] is not None
    return PIXELS if only_image else f"input_{index}"


def entries_of(manifest: dict) -> set[str]:
    """Returns the names of an artifact's files and of its folders of firmware."""
    firmware = (
        entry["micro"]["folder"] for entry in manifest["files"].values() if "micro" in entry
    )
    return {stored.name for stored in stored_files(manifest)} | set(filter(None, firmware))


def read_manifest(folder: Path) -> dict:
    """Reads and checks `manifest.json` of an artifact; returns it as schema 2.

    Raises:
      UserError: it is missing, is not JSON or has an unknown schema version, or a field is missing
        or does not follow the schema; the message names the field.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise UserError(f"artifact {folder} is not a folder; make one with shufflenet convert")
    if not path.is_file():
        raise UserError(f"{folder} is not an artifact: {MANIFEST} is missing; name another folder")
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise UserError(f"{path} is too large for a manifest; convert the model again")
    manifest = read_json(path, "convert the model again")
    return check_manifest(manifest, path)


def check_manifest(manifest: Any, path: Path) -> dict:
    """Returns the manifest as schema 2 after checking it.

    Raises:
      UserError: it does not follow the schema; the message names `path` and the field.
    """
    if not isinstance(manifest, dict):
        raise UserError(f"{path} is not a JSON object; convert the model again")
    version = manifest.get("schema_version")
    if type(version) is not int or version not in (1, SCHEMA_VERSION):
        raise UserError(
            f"{path} has schema version {version!r}, but this program reads 1 and "
            f"{SCHEMA_VERSION}; convert the model again, or use the program that wrote it"
        )
    if version == 1:
        manifest = _upgraded(manifest, path)
    check_fields(manifest, _FIELDS, path, "")
    for index, fields in enumerate(manifest["inputs"]):
        _check_input(fields, path, f"inputs[{index}].")
    for index, fields in enumerate(manifest["outputs"]):
        check_fields(fields, _OUTPUT_FIELDS, path, f"outputs[{index}].")
    _check_task(manifest, path)
    if manifest["samples"] is not None:
        _check_samples(manifest, path)
    _check_files(manifest, path)
    return manifest


def _upgraded(manifest: dict, path: Path) -> dict:
    """Returns a manifest of schema 1, which knows classifiers of one image alone, as schema 2."""
    check_fields(manifest, _OLD_FIELDS, path, "")
    image, files = manifest["input"], {}
    check_fields(image, _OLD_INPUT_FIELDS, path, "input.")
    for name, entry in manifest["files"].items():
        if not is_object(entry):
            raise bad_field(path, f"files[{name!r}]", entry)
        check_fields(entry, _OLD_FILE_FIELDS, path, f"files[{name!r}].")
        ends = {"inputs": [entry["input"]], "outputs": [entry["output"]]}
        files[name] = {**_without(entry, "input", "output"), **ends}
    samples = manifest["samples"]
    if samples is not None:
        pixels = {"shape": image["shape"][1:], "dtype": "uint8"}
        arrays = {"images": pixels, "labels": {"shape": [], "dtype": "int32"}}
        samples = {**samples, "arrays": arrays}
    return {
        **_without(manifest, "input", "classes"),
        "schema_version": SCHEMA_VERSION,
        "task": CLASSIFICATION,
        "inputs": [{"name": "image", **image}],
        "outputs": [{"name": "logits", "shape": [image["shape"][0], manifest["classes"]]}],
        "samples": samples,
        "files": files,
    }


def _without(mapping: dict, *keys: str) -> dict:
    return {key: value for key, value in mapping.items() if key not in keys}


def _check_input(fields: dict, path: Path, where: str) -> None:
    check_fields(fields, _INPUT_FIELDS, path, where)
    _check_photograph(fields, path, where)
    preprocessing = fields["preprocessing"]
    if preprocessing is None:
        return
    check_fields(preprocessing, _PREPROCESSING_FIELDS, path, f"{where}preprocessing.")
    if not _is_image_shape(fields["shape"]):
        raise bad_field(path, f"{where}shape", fields["shape"])
    lengths = {len(preprocessing[key]) for key in _PREPROCESSING_FIELDS}
    if lengths - {1, fields["shape"][-1]}:
        raise bad_field(path, f"{where}preprocessing", preprocessing)


def _check_task(manifest: dict, path: Path) -> None:
    if manifest["labels"] is not None:
        check_fields(manifest["labels"], _STORED_FILE, path, "labels.")
    if manifest["task"] == OTHER:
        return
    if manifest["labels"] is None:
        raise bad_field(path, "labels", None)
    if manifest["task"] == DETECTION:
        _check_decode(manifest, path)
        return
    shape = manifest["outputs"][0]["shape"]
    if len(manifest["outputs"]) != 1 or len(shape) != 2 or shape[1] > _MAX_CLASSES:
        raise bad_field(path, "outputs", manifest["outputs"])


def _check_decode(manifest: dict, path: Path) -> None:
    for end in ("inputs", "outputs"):
        if len(manifest[end]) != 1:
            raise bad_field(path, end, manifest[end])
    check_fields(manifest, {"decode": is_object}, path, "")
    decode, (image,), (output,) = (manifest[name] for name in ("decode", "inputs", "outputs"))
    if image["preprocessing"] is None:
        raise bad_field(path, "inputs[0].preprocessing", None)
    wrong = wrong_field(decode, image["shape"], output["shape"])
    if wrong is not None:
        raise bad_field(path, f"decode.{wrong}", decode.get(wrong))


def _check_samples(manifest: dict, path: Path) -> None:
    samples, size = manifest["samples"], 0
    check_fields(samples, _SAMPLES_FIELDS, path, "samples.")
    shapes = _sample_shapes(manifest)
    for name, fields in samples["arrays"].items():
        where = f"samples.arrays[{name!r}]"
        if not is_object(fields) or not name.isidentifier():
            raise bad_field(path, where, fields)
        check_fields(fields, _ARRAY_FIELDS, path, f"{where}.")
        shape, dtype = fields["shape"], fields["dtype"]
        if (shape, dtype) != (shapes.get(name, shape), _SAMPLE_DTYPES.get(name, dtype)):
            raise bad_field(path, where, fields)
        size += math.prod(fields["shape"])
    if samples["images"] * size > _MAX_SAMPLES_BYTES:
        raise bad_field(path, "samples.images", samples["images"])


def _sample_shapes(manifest: dict) -> dict[str, list[int]]:
    """Returns the shape of one sample in each array that an artifact can have."""
    ends = {
        f"{end}_{index}": fields["shape"][1:]
        for end in ("input", "output")
        for index, fields in enumerate(manifest[f"{end}s"])
    }
    found = {**ends, PIXELS: ends["input_0"], "labels": []}
    if manifest["task"] == DETECTION:
        found |= truth_arrays.array_shapes(manifest["samples"]["arrays"])
    return found


def _check_files(manifest: dict, path: Path) -> None:
    for name, entry in manifest["files"].items():
        _check_name(name, path, (".tflite", ONNX))
        if not is_object(entry):
            raise bad_field(path, f"files[{name!r}]", entry)
        check_fields(entry, _FILE_FIELDS, path, f"files[{name!r}].")
        _check_devices(entry, path, f"files[{name!r}].")
    _check_compiled_names(manifest["files"], path)


def _check_photograph(fields: dict, path: Path, where: str) -> None:
    if not _PHOTOGRAPH_FIELDS.keys() & fields.keys():
        return
    check_fields(fields, _PHOTOGRAPH_FIELDS, path, where)
    check_fields(fields["resize"], _RESIZE_FIELDS[fields["crop"]], path, f"{where}resize.")
    if fields["shape"][-1:] != [len(fields["channels"])]:
        raise bad_field(path, f"{where}channels", fields["channels"])


def _check_name(name: str, path: Path, formats: tuple[str, ...] = (".tflite",)) -> None:
    if not is_file_name(name) or not name.endswith(formats):
        raise UserError(
            f"{path} lists a file {name!r} that is not a plain {' or '.join(formats)} name; "
            "do not use this artifact"
        )


def _check_devices(entry: dict, path: Path, where: str) -> None:
    for device in _DEVICE_FIELDS.keys() & entry.keys():
        fields, place = entry[device], f"{where}{device}."
        if not is_object(fields):
            raise bad_field(path, place[:-1], fields)
        check_fields(fields, _DEVICE_FIELDS[device], path, place)
        if "clock_hz" in fields:
            check_fields(fields, _CLOCK_FIELDS, path, place)
            for key, checks in _ESTIMATE_FIELDS.items():
                check_fields(fields[key], checks, path, f"{place}{key}.")
        inner = {
            "prediction": _PREDICTION_FIELDS,
            "log": _LOG_FIELDS,
            "compiled": _COMPILED_FIELDS,
            "arena": _ARENA_FIELDS,
        }
        for key in inner.keys() & fields.keys():
            if fields[key] is not None:
                check_fields(fields[key], inner[key], path, f"{place}{key}.")


def _check_compiled_names(files: dict[str, dict], path: Path) -> None:
    """Raises UserError unless every compiled file has a plain and unique name."""
    names = [compiled["name"] for entry in files.values() for compiled in _compiled_files(entry)]
    for name in names:
        _check_name(name, path)
        if name in files or names.count(name) > 1:
            raise bad_field(path, "files: two of them share a name", name)


def _compiled_files(entry: dict) -> list[dict]:
    """Returns the compiled files that a file's entry lists."""
    made = [entry[device].get("compiled") for device in _DEVICE_FIELDS if device in entry]
    return [compiled for compiled in made if compiled is not None]
