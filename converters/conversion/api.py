"""`converters.convert`: from a Keras model in Python to an artifact."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tf_keras

from common.cli import UserError
from converters.conversion.check import CHECK_IMAGES
from converters.conversion.config import ConversionConfig
from converters.conversion.pipeline import convert_network
from converters.edgetpu_target.compiler import EdgeTpuSettings
from converters.micro_target.settings import MemorySettings
from converters.options import DEFAULT_METHOD, ONNX_LAYOUTS, ONNX_WEIGHT_BITS
from converters.quantized_source import quantized_source
from converters.source.from_model import network_of_model

_COMMAND = "converters.convert"


@dataclass(frozen=True)
class Conversion:
    """What a conversion has made.

    Attributes:
      folder: the artifact.
      files: paths of its .tflite files, by name.
      agreement: of each file with the Keras model, by name: `max` and `rms` error in standard
        deviations of the outputs, `argmax` (the share of images with the same class; None for
        other outputs) and the number of `images`; with several outputs, those of the worst, and
        `outputs` with each.
      manifest: what manifest.json says (docs/artifact.md).
    """

    folder: Path
    files: dict[str, Path]
    agreement: dict[str, dict]
    manifest: dict


def convert(
    model: keras.Model | tf_keras.Model,
    output: str | Path,
    images: Any,
    labels: Any = None,
    *,
    quantization: str | Sequence[str] = ("none", "int8-ptq"),
    target: str = "cpu",
    graph: str | Sequence[str] = "deployment",
    class_names: Sequence[str] | None = None,
    preprocessing: str | None = None,
    outputs: Sequence[str] | None = None,
    size: int | None = None,
    name: str | None = None,
    batch: int = 1,
    io_dtype: str = "int8",
    ranges: str = DEFAULT_METHOD,
    samples: int = 300,
    calibration_images: int = 256,
    accelerator: str | None = None,
    edgetpu: EdgeTpuSettings | None = None,
    memory: MemorySettings | None = None,
    onnx_layout: str = ONNX_LAYOUTS[0],
    onnx_weight_bits: int = ONNX_WEIGHT_BITS[0],
    overwrite: bool = False,
) -> Conversion:
    """Converts a Keras 3 model to an artifact: .tflite files, checked against the model.

    It is a classifier if it has one output [batch, classes] and labels or class names are given:
    then a softmax at its end is left out of the files.

    Args:
      model: a functional or Sequential model, with any number of inputs and outputs; or one of
        `converters.quantization_aware`, with `quantization=["int8-qat"]` and its target.
      output: the folder to write; new or empty.
      images: examples for calibration (half of them) and for the check: an array [n, ...], a list
        or dict of arrays for several inputs, or a `tf.data.Dataset`. uint8 images are pixels, all
        other arrays what the model takes (`model.predict`).
      labels: the correct classes [n], for the accuracy.
      quantization: one or several of "none", "float16", "dynamic", "int8-ptq", "int16x8", "onnx"
        and "onnx-int8".
      target: "cpu", "micro", "edgetpu" or "ethosu".
      graph: "deployment" (rewritten), "canonical" (as it is, as a baseline), or both.
      class_names: in the order of the output; None: "0", "1", …
      preprocessing: how a pixel becomes the model's input: "tf" (-1 to 1), "torch" (ImageNet's mean
        and deviation) or "raw" (0 to 255); None: as the model says.
      outputs: names of the outputs to convert, in their order; None: all.
      size: height and width in pixels, if the model does not fix them.
      name: of the network, for the manifest; None: the model's.
      batch: examples per inference of .tflite files; more than one only with the target "cpu".
      io_dtype: type of the inputs and outputs of int8 files: "int8", "uint8" or "float32".
      ranges: how int8 ranges are chosen: "minmax", "percentile" or "mse".
      samples: the number of examples in the artifact, for the check on devices.
      calibration_images: the largest number of examples for the ranges.
      accelerator: with the target "ethosu", the NPU to compile for.
      edgetpu: with the target "edgetpu", the compiler's settings.
      memory: with the target "micro", what a smaller arena may cost.
      onnx_layout: of the maps of ONNX files: "nchw" or "nhwc".
      onnx_weight_bits: of "onnx-int8": 8, or 7 for x86 CPUs without VNNI.
      overwrite: replace an artifact at `output`.

    Returns:
      The files, their agreement with the model, and the manifest.

    Raises:
      UserError: the model or an argument cannot be used (the message names the layer or the
        argument), or a file does not compute what the model computes. Nothing is left at `output`.

    Examples:
      >>> artifact = converters.convert(model, "artifact", images, labels, target="micro")
      >>> artifact.agreement["deployment_int8_ptq.tflite"]["argmax"]
      0.99
    """
    config = ConversionConfig(
        model=None,
        output=Path(output),
        graphs=_several(graph),
        quantizations=_several(quantization),
        target=target,
        batch=batch,
        io_dtype=io_dtype,
        ranges=ranges,
        samples=samples,
        calibration_images=calibration_images,
        accelerator=accelerator,
        edgetpu=edgetpu or EdgeTpuSettings(),
        memory=memory or MemorySettings(),
        onnx_layout=onnx_layout,
        onnx_weight_bits=onnx_weight_bits,
        overwrite=overwrite,
    )
    _check_quantized(model, config)
    opened = partial(
        network_of_model,
        model,
        images,
        labels,
        class_names=class_names,
        preprocessing=preprocessing,
        outputs=outputs,
        size=size,
        name=name,
        limit=example_limit(config),
    )
    manifest = convert_network(opened, config, _COMMAND)
    return Conversion(
        folder=config.output,
        files={name: config.output / name for name in manifest["files"]},
        agreement={name: entry["agreement"] for name, entry in manifest["files"].items()},
        manifest=manifest,
    )


def _check_quantized(model: object, config: ConversionConfig) -> None:
    """Raises UserError unless int8-qat, and it alone, is asked for of a model trained for it."""
    source, wanted = quantized_source(model), set(config.quantizations)
    if source is None and "int8-qat" in wanted:
        raise UserError(
            "int8-qat is of a model that converters.quantization_aware has made; give that model"
        )
    if source is None:
        return
    if wanted != {"int8-qat"}:
        raise UserError(
            "a model of quantization_aware is converted with quantization=['int8-qat'] alone; "
            "convert the float model for other files"
        )
    if source.target != config.target:
        raise UserError(
            f"the model was made by quantization_aware for {source.target}, not {config.target}; "
            f"convert it with target={source.target!r}"
        )


def example_limit(config: ConversionConfig) -> int:
    """Returns how many examples a conversion needs of a set of which half is for calibration."""
    return 2 * max(config.calibration_images, config.samples, CHECK_IMAGES)


def _several(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
