"""Detectors of others, from the files that they are published as."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.other_detectors.networks import THEIRS, Theirs
from benchmarks.other_detectors.prepared import Prepared
from benchmarks.other_runtimes.files import CALIBRATION, PUBLISHED, Variant, photos, quantize
from common.cli import UserError
from edge.profiling.layers import read_layers

if TYPE_CHECKING:
    import onnx

# The runtimes of each format, the one whose float32 outputs are the reference first.
_RUNTIMES = {"onnx": ("onnxruntime", "openvino"), "ncnn": ("ncnn",), "tflite": ("litert",)}
# The first operator set in which a channel can have its own scale.
_OPSET = 13


@dataclass(frozen=True)
class Found:
    """What a folder has of the detectors of `THEIRS`.

    Attributes:
      files: by detector and format, the path.
      missing: what cannot run without a file, as lines for readers.
    """

    files: dict[str, dict[str, Path]]
    missing: tuple[str, ...]


def find(folder: Path, runtimes: Sequence[str]) -> Found:
    """Returns the files in a folder that are those of `THEIRS` and can be run.

    Args:
      folder: of published files.
      runtimes: keys of `PACKAGES`; LiteRT is always there.

    Raises:
      UserError: the folder does not exist or has none of them.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; --detectors needs one with published detectors")
    files: dict[str, dict[str, Path]] = {name: {} for name in THEIRS}
    missing = []
    for name, theirs in THEIRS.items():
        for kind, file in theirs.files.items():
            if not _chosen(kind, runtimes):
                continue
            absent = [each for each in _parts(folder / file) if not each.is_file()]
            if absent:
                lacking = " and ".join(each.name for each in absent)
                missing.append(f"{theirs.title} as {kind}, without {lacking}")
            else:
                files[name][kind] = folder / file
    if not any(files.values()):
        names = ", ".join(file for theirs in THEIRS.values() for file in theirs.files.values())
        raise UserError(
            f"{folder} has nothing for {', '.join((*runtimes, 'litert'))} of {names}; "
            "docs/detection.md says where they are"
        )
    return Found(files, tuple(missing))


def _parts(path: Path) -> list[Path]:
    return [path, path.with_suffix(".bin")] if path.suffix == ".param" else [path]


def prepare(name: str, files: dict[str, Path], runtimes: Sequence[str], cache: Path) -> Prepared:
    """Returns a detector in all its files; writes the int8 ones into a folder of `cache`.

    Args:
      name: a key of `THEIRS`.
      files: its paths by format, as `find` returns them.
      runtimes: as for `find`.
      cache: folder of folders.

    Raises:
      UserError: a file is damaged or takes another input, or a quantizer failed.
    """
    theirs = THEIRS[name]
    folder = cache / f"detectors_{name}"
    folder.mkdir(parents=True, exist_ok=True)
    images = theirs.preprocess(photos(theirs.pixels))
    np.save(folder / "checked.npy", images[CALIBRATION:])
    found, multiply_adds = {}, None
    if "onnx" in files:
        source, multiply_adds = _current_onnx(files["onnx"], theirs, folder)
        found |= _onnx_files(source, images[:CALIBRATION], _chosen("onnx", runtimes))
    if "ncnn" in files:
        found[Variant("ncnn", PUBLISHED, "float32")] = files["ncnn"]
    if "tflite" in files:
        found[Variant("litert", PUBLISHED, "int8")] = files["tflite"]
        multiply_adds = sum(layer.macs for layer in read_layers(files["tflite"]))
    return Prepared(
        name=name,
        title=theirs.title,
        pixels=theirs.pixels,
        multiply_adds=multiply_adds,
        counterpart=theirs.counterpart,
        files=dict(sorted(found.items(), key=lambda item: item[0].precision != "float32")),
        images=folder / "checked.npy",
    )


def _chosen(kind: str, runtimes: Sequence[str]) -> list[str]:
    return [runtime for runtime in _RUNTIMES[kind] if runtime in (*runtimes, "litert")]


def _current_onnx(path: Path, theirs: Theirs, folder: Path) -> tuple[Path, int]:
    """Returns a copy of an ONNX file that can be quantized, and its multiply-adds.

    Weights that are listed as inputs, as old exporters did, are so no longer: a runtime must not
    take such a weight for a constant.

    Raises:
      UserError: it is damaged, or its input has another shape.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
        weights = {weight.name for weight in model.graph.initializer}
        inputs = [each for each in model.graph.input if each.name not in weights]
        del model.graph.input[:]
        model.graph.input.extend(inputs)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise UserError(f"{path} is damaged or no ONNX model; fetch it again") from error
    shapes = [[size.dim_value for size in each.type.tensor_type.shape.dim] for each in inputs]
    if shapes != [[1, 3, theirs.pixels, theirs.pixels]]:
        raise UserError(
            f"{path} takes inputs of {shapes}, but {theirs.title} has one of "
            f"{[1, 3, theirs.pixels, theirs.pixels]}; fetch the file of this size"
        )
    if model.opset_import[0].version < _OPSET:
        model = onnx.version_converter.convert_version(model, _OPSET)
    target = folder / "float32.onnx"
    onnx.save(model, target)
    return target, _multiply_adds(model)


def _multiply_adds(model: "onnx.ModelProto") -> int:
    """Returns the multiply-adds of an ONNX model's convolutions."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output)
    }
    kernels = {weight.name: weight.dims for weight in inferred.initializer}
    convolutions = [node for node in inferred.node if node.op_type == "Conv"]
    # [batch, channels, height, width] of the output, [outputs, inputs / groups, ...] of the kernel.
    return sum(
        int(np.prod(shapes[node.output[0]][2:]) * np.prod(kernels[node.input[1]]))
        for node in convolutions
    )


def _onnx_files(source: Path, images: np.ndarray, runtimes: Sequence[str]) -> dict[Variant, Path]:
    """Returns a float32 ONNX file and, quantized with images, each runtime's int8 file."""
    calibration = source.with_name("calibration.npy")
    np.save(calibration, np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    found = {}
    for runtime in runtimes:
        found[Variant(runtime, PUBLISHED, "float32")] = source
        target = source.with_name(f"{runtime}_int8")
        found[Variant(runtime, PUBLISHED, "int8")] = quantize(runtime, source, target, calibration)
    return found
