"""Writes a firmware folder for TFLite Micro: an int8 network as C++ source for a microcontroller.

docs/micro.md describes its content and how to build it.
"""

import importlib.metadata
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import common.detection
from common.cli import UserError
from common.detection.decoding import Decoding
from common.tflite.litert import LiteRTModel
from common.tflite.micro_runtime import MicroRuntime, micro_version
from common.tflite.operators import operator_counts
from converters.micro_target.detector_sources import object_bytes
from converters.micro_target.memory import write_report
from converters.micro_target.operators import registrations
from converters.micro_target.sources import (
    FirmwareData,
    golden_source,
    model_header,
    model_source,
    operators_header,
)

SUFFIX = "_firmware"
# Optimized kernels need buffers that the measured portable kernels do not; CMSIS-NN's are about
# this large (docs/micro.md).
_MARGIN_BYTES = 4096
_ALIGNMENT = 16
_TEMPLATES = Path(__file__).with_name("templates")
# A detector's own, instead of the files of these names, and the header that finds its boxes.
_DETECTOR = _TEMPLATES / "detector"
_DETECTIONS = Path(common.detection.__file__).with_name("templates") / "detections.h"
# Files that are copied unchanged.
_VERBATIM = (
    *("CMakeLists.txt", "src/shufflenet.h", "src/shufflenet.cpp", "src/shufflenet_image.h"),
    *("golden_test/main.cc", "golden_test/golden.h", "zephyr/CMakeLists.txt", "zephyr/module.yml"),
    *("examples/Classify/Classify.ino", "examples/Camera/Camera.ino"),
)
# Files with $names to fill in.
_FILLED = ("README.md", "library.json", "library.properties", "idf_component.yml")
# The sketch of the Arduino IDE and the program for all others have the same image.
_SKETCH = "examples/Classify"
_WRITTEN = {
    "src/shufflenet_model.h": model_header,
    "src/shufflenet_model.cpp": model_source,
    "src/shufflenet_operators.h": operators_header,
    "golden_test/golden.cpp": golden_source,
}


@dataclass(frozen=True)
class Classifier:
    """What a firmware, of a classifier or a detector, needs in addition to its .tflite file.

    Attributes:
      name: the network's name.
      labels: class names in the order of the logits.
      scale, offset: network input = pixel * scale + offset, one number or one per channel.
      image: an image to check the firmware with, uint8 [height, width, channels].
      decoding: how a detector's output becomes boxes; None for a classifier.
    """

    name: str
    labels: Sequence[str]
    scale: Sequence[float]
    offset: Sequence[float]
    image: np.ndarray
    decoding: Decoding | None = None


def describe(path: Path, classifier: Classifier) -> dict:
    """Writes `NAME_firmware/` next to a file, if its arena can be measured on this machine.

    Args:
      path: an integer .tflite file.
      classifier: the labels, preprocessing and image to write with it.

    Returns:
      The file's field `micro` in the manifest (docs/artifact.md).

    Raises:
      UserError: TFLite Micro does not have all of the file's operators, or refuses the file.
    """
    if micro_version() is None:
        return not_written(
            path,
            "the arena, TFLite Micro's memory, cannot be measured without its interpreter; "
            "pip install 'keras_shufflenet[micro]' and convert again",
        )
    calls = registrations(operator_counts(path), path.name)
    entry = {"tflite_micro": micro_version(), "registrations": calls}
    folder = path.with_name(path.stem + SUFFIX)
    data = write_firmware(path, classifier, folder, calls)
    arena = {"measured_bytes": data.arena_bytes, "margin_bytes": data.margin_bytes}
    return {**entry, "status": "written", "message": None, "folder": folder.name, "arena": arena}


def not_written(path: Path, message: str) -> dict:
    """Returns the field `micro` of a file without firmware.

    Args:
      path: an integer .tflite file.
      message: why there is none.

    Raises:
      UserError: TFLite Micro does not have all of the file's operators.
    """
    return {
        "tflite_micro": micro_version(),
        "registrations": registrations(operator_counts(path), path.name),
        **{"status": "not written", "message": message, "folder": None, "arena": None},
    }


def write_firmware(
    path: Path, classifier: Classifier, folder: Path, calls: Sequence[str]
) -> FirmwareData:
    """Writes a firmware folder.

    Args:
      path: an integer .tflite file.
      classifier: the labels, preprocessing and image to write with it.
      folder: the folder to write; its parent exists.
      calls: the resolver's methods for the file's operators.

    Returns:
      The data in the sources.

    Raises:
      UserError: TFLite Micro refuses the file.

    Examples:
      >>> classifier = Classifier("net", labels, scale=[1 / 127.5], offset=[-1.0], image=image)
      >>> write_firmware(path, classifier, folder, ["AddConv2D"]).arena_bytes
      118608
    """
    data = _measured(path, classifier, calls)
    for name, text in _texts(data, path).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    write_report(data.content, folder)
    return data


def input_table(model: LiteRTModel, classifier: Classifier) -> np.ndarray:
    """Returns the network's input for every pixel value, [channels, 256], in its own dtype."""
    pixels = np.repeat(np.arange(256, dtype=np.float32)[:, np.newaxis], model.input_shape[-1], 1)
    # In float32 like `Artifact.preprocess`, so that firmware and host have the same input.
    scale, offset = np.float32(classifier.scale), np.float32(classifier.offset)
    return model.quantize_input(pixels * scale + offset).T


def margin(arena_bytes: int) -> int:
    """Returns the bytes to add to a measured arena; the sum is a multiple of 16."""
    return _MARGIN_BYTES + -arena_bytes % _ALIGNMENT


def summary(entry: dict) -> str:
    """Returns one line about a file for the terminal.

    Args:
      entry: the file's field `micro` in the manifest.
    """
    if entry["status"] != "written":
        return f"no firmware: {entry['message']}"
    arena = entry["arena"]
    return (
        f"firmware in {entry['folder']}, arena {arena['measured_bytes']:,} bytes measured "
        f"+ {arena['margin_bytes']:,} of margin, {len(entry['registrations'])} kinds of operators"
    )


def _measured(path: Path, classifier: Classifier, calls: Sequence[str]) -> FirmwareData:
    model, content = LiteRTModel(path), path.read_bytes()
    table = input_table(model, classifier)
    channels = np.arange(len(table))
    try:
        runtime = MicroRuntime(content)
        (scores,) = runtime.run([table[channels, classifier.image][np.newaxis]])
        arena_bytes = runtime.arena_bytes()
    except UserError as error:
        raise UserError(f"{path.name} in TFLite Micro: {error}") from error
    return FirmwareData(
        # The name is also written to files of other formats, which quote in different ways.
        name=re.sub(r"[^\w.+-]", "_", classifier.name),
        file=path.name,
        content=content,
        labels=classifier.labels,
        image=classifier.image,
        scores=scores[0],
        input_table=table,
        input_quantization=model.input_quantization,
        output_quantization=model.output_quantization,
        registrations=calls,
        arena_bytes=arena_bytes,
        margin_bytes=margin(arena_bytes),
        decoding=classifier.decoding,
    )


def _texts(data: FirmwareData, path: Path) -> dict[str, str]:
    """Returns the content of the firmware's files by their names."""
    names = _names(data, path)
    detects = data.decoding is not None
    templates = {
        name: _template(name, detects)
        for name in (*_VERBATIM, *_FILLED)
        # The sketches classify.
        if not (detects and name.startswith("examples/"))
    }
    filled = {name: string.Template(templates[name]).substitute(names) for name in _FILLED}
    written = {name: write(data) for name, write in _WRITTEN.items()}
    if detects:
        header = {"src/detections.h": _DETECTIONS.read_text(encoding="utf-8")}
        return templates | filled | written | header
    copies = {
        f"{_SKETCH}/golden.h": templates["golden_test/golden.h"],
        f"{_SKETCH}/golden.cpp": written["golden_test/golden.cpp"],
    }
    return templates | filled | written | copies


def _template(name: str, detects: bool) -> str:
    own = _DETECTOR / name
    path = own if detects and own.is_file() else _TEMPLATES / name
    return path.read_text(encoding="utf-8")


def _names(data: FirmwareData, path: Path) -> dict[str, object]:
    height, width, channels = data.image.shape
    scale, zero_point = data.output_quantization
    kind, boxes = "an image classifier", {}
    if data.decoding is not None:
        kind = "an object detector"
        boxes = {
            "max_boxes": data.decoding.max_boxes,
            "object_bytes": f"{object_bytes(data.decoding):,} bytes",
        }
    return {
        **boxes,
        "name": data.name,
        "kind": kind,
        "model_file": path.name,
        "version": importlib.metadata.version("keras_shufflenet"),
        "height": height,
        "width": width,
        "channels": channels,
        "classes": len(data.labels),
        "output_type": data.scores.dtype.name,
        "output_scale": f"{scale:.9g}",
        "output_zero_point": zero_point,
        "model_bytes": len(data.content),
        "measured_bytes": data.arena_bytes,
        "margin_bytes": data.margin_bytes,
        "arena_bytes": data.arena_bytes + data.margin_bytes,
        "micro_version": micro_version(),
        "operators": ", ".join(call.removeprefix("Add") for call in data.registrations),
    }
