"""From a workdir to an artifact: every step of `converters.convert` after its flags."""

import datetime
import importlib.metadata
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from absl import logging

from common.artifact_writer import (
    describe_tflite,
    staged_folder,
    write_labels,
    write_manifest,
    write_samples,
)
from common.cli import UserError
from common.tflite import metadata, vela
from common.tflite.litert import LiteRTModel
from converters.conversion.check import (
    BOUNDS,
    CHECK_IMAGES,
    check_agreement,
    disagreement,
    measure_agreement,
)
from converters.conversion.config import ConversionConfig
from converters.conversion.sources import CONVERTERS, Sources
from converters.edgetpu_target import pipeline
from converters.graph.drawing import draw_stage
from converters.micro_target import firmware, fitting
from converters.onnx_target.runtime import OnnxModel, describe_onnx
from converters.options import CALIBRATED, INTEGER, ONNX
from converters.workdir import TrainedModel, load_trained, split_images
from keras_shufflenet.complexity import complexity
from keras_shufflenet.preprocessing import PREPROCESSING, preprocess_input
from trainers.settings import WIDTHS

# The end of a file's name, by quantization; the name starts with the graph.
_SUFFIXES = {
    "none": "float32.tflite",
    "float16": "float16.tflite",
    "dynamic": "dynamic.tflite",
    "int8-ptq": "int8_ptq.tflite",
    "int8-qat": "int8_qat.tflite",
    "int16x8": "int16x8.tflite",
    "onnx": "float32.onnx",
    "onnx-int8": "int8_ptq.onnx",
}
# How a file of each format is run and described.
_FORMATS = {".tflite": (LiteRTModel, describe_tflite), ".onnx": (OnnxModel, describe_onnx)}
# The training's settings that the network was built with.
_NETWORK_FIELDS = ("model", "scale", *WIDTHS, "groups", "padding", "small_images")
_PACKAGES = ("keras_shufflenet", "keras", "tensorflow", "ai-edge-litert", "numpy")


@dataclass(frozen=True)
class _Evaluation:
    """Real images, and the Keras model's logits for them."""

    images: np.ndarray
    labels: np.ndarray
    inputs: np.ndarray
    logits: np.ndarray

    def accuracy(self, logits: np.ndarray) -> float:
        return float((logits.argmax(axis=-1) == self.labels).mean())


# Takes an integer file, its graph, and the model and images that it was made and checked with;
# returns what a device adds to the file's entry.
_DeviceStep = Callable[[Path, str, TrainedModel, _Evaluation], dict]


def convert_workdir(config: ConversionConfig, command: str) -> dict:
    """Converts a trained model, checks every file against it and writes the artifact.

    Args:
      config: the settings.
      command: the command line, for the manifest.

    Returns:
      The manifest's fields.

    Raises:
      UserError: the workdir or the data cannot be used, the output exists, or a file does not
        compute what the Keras model computes. Nothing is left at the output.
    """
    # First of all, so that a missing compiler is reported before minutes of work.
    device_step = _DEVICE_STEPS.get(config.target, _no_device)(config)
    with staged_folder(config.output.absolute(), config.overwrite) as folder:
        trained = load_trained(config.model, config.data_dir)
        evaluation = _evaluate(trained, max(config.samples, CHECK_IMAGES))
        sources = Sources(trained, config)
        files = {}
        for graph, quantization in config.pairs:
            path = folder / f"{graph}_{_SUFFIXES[quantization]}"
            content = CONVERTERS[graph, quantization](sources, quantization)
            content, memory = _fitted(content, config, graph, quantization)
            path.write_bytes(_with_metadata(content, trained, path.suffix, config.target))
            files[path.name] = {
                **_describe_file(path, quantization, evaluation),
                **_describe_method(sources, graph, quantization),
                **memory,
                **(
                    device_step(path, graph, trained, evaluation) if quantization in INTEGER else {}
                ),
            }
        calibrated = set(config.quantizations) & set(CALIBRATED)
        fields = {
            "name": _name(trained),
            "model": _describe_model(trained, evaluation),
            "training": trained.config.to_flat(),
            "classes": len(trained.labels),
            "input": _describe_input(trained),
            "files": files,
            "calibration_images": len(sources.calibration) if calibrated else 0,
            **_write_companions(folder, trained, evaluation, config.samples),
            **_describe_origin(command),
        }
        write_manifest(folder, fields)
        if config.plot is not None:
            draw_stage(trained.model, sources.graph, config.plot)
    return fields


def _fitted(
    content: bytes, config: ConversionConfig, graph: str, quantization: str
) -> tuple[bytes, dict]:
    """Returns a file for a microcontroller with a smaller arena, and what it adds to its entry."""
    if config.target != "micro" or graph != "deployment" or quantization not in INTEGER:
        return content, {}
    fit = fitting.fit(content, config.memory)
    return (content, {}) if fit is None else (fit.content, {"memory": fit.describe()})


def _with_metadata(content: bytes, trained: TrainedModel, suffix: str, target: str) -> bytes:
    # Libraries of phones read it. A microcontroller would pay for it in flash, and compilers for
    # accelerators have not been tried with it.
    if suffix == ".tflite" and target != "cpu":
        return content
    preprocessing = _describe_input(trained)["preprocessing"]
    description = metadata.Description(
        name=_name(trained),
        labels=trained.labels,
        shape=trained.model.input_shape[1:],
        scale=preprocessing["scale"],
        offset=preprocessing["offset"],
    )
    if suffix == ".onnx":
        from converters.onnx_target.metadata import add_metadata

        return add_metadata(content, description)
    return metadata.add_metadata(content, description)


def _edgetpu_step(config: ConversionConfig) -> _DeviceStep:
    compiler = pipeline.required_compiler(config.edgetpu)

    def step(path: Path, graph: str, *unused: object) -> dict:
        entry = pipeline.describe(path, compiler)
        # The canonical graph is the baseline: it shows what would not map.
        if config.edgetpu.require_full_mapping and graph == "deployment":
            pipeline.check_full_mapping(path.name, entry)
        return {"edgetpu": entry}

    return step


def _ethosu_step(config: ConversionConfig) -> _DeviceStep:
    if config.accelerator is None:
        return _no_device(config)
    vela.vela_version()
    return lambda path, *unused: {"ethosu": vela.describe(path, config.accelerator, config.vela)}


def _micro_step(config: ConversionConfig) -> _DeviceStep:
    def step(path: Path, graph: str, trained: TrainedModel, evaluation: _Evaluation) -> dict:
        # The canonical graph is the baseline, to compare with, not to flash.
        if graph != "deployment":
            return {}
        preprocessing = _describe_input(trained)["preprocessing"]
        classifier = firmware.Classifier(
            name=_name(trained),
            labels=trained.labels,
            scale=preprocessing["scale"],
            offset=preprocessing["offset"],
            image=evaluation.images[0],
        )
        return {"micro": firmware.describe(path, classifier)}

    return step


def _no_device(config: ConversionConfig) -> _DeviceStep:
    return lambda *unused: {}


# The extra step for each target's files; the files of other targets need none.
_DEVICE_STEPS: dict[str, Callable[[ConversionConfig], _DeviceStep]] = {
    "edgetpu": _edgetpu_step,
    "ethosu": _ethosu_step,
    "micro": _micro_step,
}


def _evaluate(trained: TrainedModel, count: int) -> _Evaluation:
    config = trained.config
    # Shuffled, because a folder's files are in the order of their classes.
    images, labels = split_images(trained, config.data.eval_split, count)
    if not len(images):
        raise UserError(
            f"split {config.data.eval_split!r} of {config.data.dataset} has no images to check with"
        )
    inputs = preprocess_input(images, mode=config.images.preprocessing)
    logits = trained.model.predict(inputs, verbose=0)
    return _Evaluation(images, labels, inputs, logits)


def _write_companions(
    folder: Path, trained: TrainedModel, evaluation: _Evaluation, samples: int
) -> dict:
    images, labels = evaluation.images[:samples], evaluation.labels[:samples]
    return {
        "labels": write_labels(folder, trained.labels),
        "samples": write_samples(folder, images, labels),
    }


def _describe_origin(command: str) -> dict:
    return {
        "versions": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": command,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def _describe_method(sources: Sources, graph: str, quantization: str) -> dict:
    """Returns how a file was made; fields that do not apply to it are null."""
    ours = graph == "deployment"
    target = "onnx" if quantization in ONNX else sources.config.target
    return {
        "graph": graph,
        "target": target if ours else None,
        "quantization": quantization,
        "ranges": _range_method(sources, quantization) if ours else None,
    }


def _range_method(sources: Sources, quantization: str) -> str | None:
    if quantization == "int8-qat":
        return sources.qat_config.ranges
    return sources.config.ranges if quantization in ("int8-ptq", "onnx-int8") else None


def _describe_file(path: Path, quantization: str, evaluation: _Evaluation) -> dict:
    """Checks a converted file against the Keras model and returns its entry for the manifest."""
    load, describe = _FORMATS[path.suffix]
    logits = load(path).predict(evaluation.inputs)
    agreement = measure_agreement(evaluation.logits, logits)
    check_agreement(agreement, BOUNDS[quantization], path.name)
    if warning := disagreement(agreement, quantization, path.name):
        logging.warning("%s", warning)
    return {
        **describe(path),
        "agreement": asdict(agreement),
        "accuracy": evaluation.accuracy(logits),
        "accuracy_images": len(evaluation.labels),
    }


def _name(trained: TrainedModel) -> str:
    config = trained.config.network
    if config.is_file:
        return Path(config.model).stem
    groups = "" if config.groups is None else f"_g{config.groups}"
    # Such as shufflenet_v2_stem8_stage16-32-64_head128.
    widths = "".join(
        f"_{name.removesuffix('_channels')}{str(width).replace(',', '-')}"
        for name, width in config.widths.items()
    )
    scale = "" if config.stage_channels else f"_{config.scale}x"
    if config.model == "shufflenet_v2_plus":
        scale = f"_{config.size or 'small'}"
    return f"{config.model}{scale}{groups}{widths}"


def _describe_model(trained: TrainedModel, evaluation: _Evaluation) -> dict:
    return {
        **{name: getattr(trained.config.network, name) for name in _NETWORK_FIELDS},
        **_describe_size(trained.model),
        "accuracy": evaluation.accuracy(evaluation.logits),
        "accuracy_images": len(evaluation.labels),
    }


def _describe_size(model: keras.Model) -> dict:
    try:
        totals = complexity(model)
    except ValueError:  # An edited network, with layers that only Keras can count.
        return {"parameters": model.count_params(), "macs": None}
    return {"parameters": totals.parameters, "macs": totals.macs}


def _describe_input(trained: TrainedModel) -> dict:
    """Returns everything from a photograph to the network's input (docs/artifact.md)."""
    images = trained.config.images
    height, width, channels = trained.model.input_shape[1:]
    mode = images.preprocessing
    constants = PREPROCESSING[mode]
    return {
        "shape": [1, height, width, channels],
        "channels": ["grey"] if channels == 1 else ["red", "green", "blue"],
        "orientation": "exif",
        # As `trainers.data.images.crops.center_crop` does it.
        "resize": {"shorter_side": images.resize_size, "filter": "triangle", "antialias": True},
        "crop": "center",
        "crop_share": images.crop_share,
        "preprocessing": {
            "mode": mode,
            "scale": np.atleast_1d(constants.scale).tolist(),
            "offset": np.atleast_1d(constants.offset).tolist(),
        },
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
