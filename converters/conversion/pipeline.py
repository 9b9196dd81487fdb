"""From a network to an artifact: every step of `converters.convert` after its flags."""

import datetime
import importlib.metadata
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from absl import logging

from common.artifact_writer import (
    describe_tflite,
    staged_folder,
    write_labels,
    write_manifest,
    write_samples,
)
from common.detection import truth_arrays
from common.manifest import CLASSIFICATION, DETECTION, OTHER
from common.tflite import metadata
from common.tflite.litert import LiteRTNetwork
from converters.conversion.check import (
    CHECK_IMAGES,
    Agreement,
    check_outputs,
    check_precision,
    disagreement,
    measure_agreement,
)
from converters.conversion.config import ConversionConfig
from converters.conversion.devices import device_step
from converters.conversion.sources import CONVERTERS, Sources
from converters.graph.drawing import draw_stage
from converters.micro_target import fitting
from converters.onnx_target.runtime import OnnxModel, describe_onnx
from converters.options import CALIBRATED, INTEGER, ONNX
from converters.source.network import Network, Samples

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
_FORMATS = {".tflite": (LiteRTNetwork, describe_tflite), ".onnx": (OnnxModel, describe_onnx)}
_PACKAGES = ("keras_shufflenet", "keras", "tensorflow", "ai-edge-litert", "numpy")


@dataclass(frozen=True)
class Evaluation:
    """Real examples, and what the Keras model gives for them.

    Attributes:
      network: the model.
      samples: the examples.
      values: each input's values for them.
      outputs: the model's outputs.
    """

    network: Network
    samples: Samples
    values: tuple[np.ndarray, ...]
    outputs: list[np.ndarray]

    @cached_property
    def known(self) -> dict:
        """The scores of the Keras model itself."""
        return self.scores(self.outputs)

    def scores(self, outputs: Sequence[np.ndarray]) -> dict:
        """Returns the share of correct classes, None if they are not known, and of how many.

        Of a detector it returns the average precision.
        """
        if self.network.decoding is not None:
            return self.network.decoding.scores(outputs[0], self.samples.truths)
        labels = self.samples.labels
        if labels is None:
            return {"accuracy": None, "accuracy_images": 0}
        right = outputs[0].argmax(axis=-1) == labels
        return {"accuracy": float(right.mean()), "accuracy_images": len(labels)}


def convert_workdir(config: ConversionConfig, command: str) -> dict:
    """Converts a workdir's model; see `convert_network`."""
    # It loads data sets and the detection trainer, which a model in Python does not need.
    from converters.source.opening import network_of_training

    opened = partial(network_of_training, config.model, config.data_dir)
    return convert_network(opened, config, command)


def convert_network(
    open_network: Callable[[], Network],
    config: ConversionConfig,
    command: str,
    say: Callable[[str], None] = lambda unused_stage: None,
) -> dict:
    """Converts a network, checks every file against its model and writes the artifact.

    Args:
      open_network: returns the network; called after everything that can be checked before.
      config: the settings.
      command: the command line, for the manifest.
      say: is called with what begins, such as "converting net.tflite".

    Returns:
      The manifest's fields.

    Raises:
      UserError: the network or the data cannot be used, the output exists, or a file does not
        compute what the Keras model computes. Nothing is left at the output.
    """
    # First of all, so that a missing compiler is reported before minutes of work.
    step = device_step(config)
    with staged_folder(config.output.absolute(), config.overwrite) as folder:
        say("loading the network and its images")
        network = open_network()
        evaluation = _evaluate(network, max(config.samples, CHECK_IMAGES))
        sources = Sources(network, config)
        # Before the first file, so that too few images are reported before time is spent.
        calibrated = set(config.quantizations) & set(CALIBRATED)
        calibration_images = sources.calibration_images if calibrated else 0
        files = {}
        for graph, quantization in config.pairs:
            path = folder / f"{graph}_{_SUFFIXES[quantization]}"
            say(f"converting and checking {path.name}")
            content = CONVERTERS[graph, quantization](sources, quantization)
            content, memory = _fitted(content, config, graph, quantization)
            path.write_bytes(_with_metadata(content, network, path.suffix, config))
            files[path.name] = {
                **_describe_file(path, quantization, evaluation, _exact(sources, quantization)),
                **_describe_method(sources, graph, quantization),
                **memory,
            }
            if quantization in INTEGER:
                files[path.name] |= step(path, graph, network, evaluation.samples)
        fields = {
            **_describe_network(evaluation, config.batch),
            "files": files,
            "calibration_images": calibration_images,
            "labels": write_labels(folder, list(network.labels)) if network.labels else None,
            "samples": write_samples(folder, _sample_arrays(evaluation, config.samples)),
            **_describe_origin(command),
        }
        write_manifest(folder, fields)
        if config.plot is not None:
            draw_stage(network.model, sources.graph, config.plot)
    return fields


def _describe_network(evaluation: Evaluation, batch: int) -> dict:
    network = evaluation.network
    description = network.description
    pairs = zip(network.outputs, network.output_shapes, strict=True)
    return {
        "name": network.name,
        "model": {**description["model"], **evaluation.known},
        "training": description["training"],
        "task": network.task,
        "inputs": [each.describe(batch) for each in network.inputs],
        "outputs": [{"name": name, "shape": [batch, *shape]} for name, shape in pairs],
        **({} if network.decoding is None else {"decode": network.decoding.describe()}),
    }


def _fitted(
    content: bytes, config: ConversionConfig, graph: str, quantization: str
) -> tuple[bytes, dict]:
    """Returns a file for a microcontroller with a smaller arena, and what it adds to its entry."""
    if config.target != "micro" or graph != "deployment" or quantization not in INTEGER:
        return content, {}
    fit = fitting.fit(content, config.memory)
    return (content, {}) if fit is None else (fit.content, {"memory": fit.describe()})


def _with_metadata(
    content: bytes, network: Network, suffix: str, config: ConversionConfig
) -> bytes:
    # Libraries of phones read it. A microcontroller would pay for it in flash, and compilers for
    # accelerators have not been tried with it. Libraries give a file one image.
    is_for_phones = config.target == "cpu" and config.batch == 1
    if not network.is_image_classifier or (suffix == ".tflite" and not is_for_phones):
        return content
    preprocessing = network.inputs[0].describe()["preprocessing"]
    description = metadata.Description(
        name=network.name,
        labels=network.labels,
        shape=network.inputs[0].shape,
        scale=preprocessing["scale"],
        offset=preprocessing["offset"],
    )
    if suffix == ".onnx":
        from converters.onnx_target.metadata import add_metadata

        return add_metadata(content, description)
    return metadata.add_metadata(content, description)


def _evaluate(network: Network, count: int) -> Evaluation:
    samples = network.evaluation(count)
    values = network.values(samples)
    return Evaluation(network, samples, values, network.predict(values))


def _sample_arrays(evaluation: Evaluation, count: int) -> dict[str, np.ndarray]:
    """Returns the arrays of samples.npz (docs/artifact.md)."""
    network = evaluation.network
    samples = evaluation.samples.first(count)
    pixels = len(samples.arrays) == 1 and samples.arrays[0].dtype == np.uint8
    if pixels and network.inputs[0].mode is not None:
        found = {"images": samples.arrays[0]}
    else:
        found = {f"input_{index}": array for index, array in enumerate(samples.arrays)}
    if samples.labels is not None:
        found["labels"] = samples.labels.astype(np.int32)
    if samples.truths is not None:
        found |= truth_arrays.pack(samples.truths)
    if network.task == OTHER:
        found |= {f"output_{i}": array[:count] for i, array in enumerate(evaluation.outputs)}
    return found


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
        return None if sources.network.quantized else sources.qat_config.ranges
    return sources.config.ranges if quantization in ("int8-ptq", "onnx-int8") else None


def _exact(sources: Sources, quantization: str) -> Callable[[Sequence[np.ndarray]], list] | None:
    """Returns what gives the outputs that a file must have; None: the Keras model."""
    if quantization != "int8-qat" or sources.network.quantized is not None:
        return None
    # Training has moved the logits, the further the less the float model had learnt.
    return replace(sources.network, model=sources.qat_model).predict


def _describe_file(
    path: Path,
    quantization: str,
    evaluation: Evaluation,
    exact: Callable[[Sequence[np.ndarray]], list] | None = None,
) -> dict:
    """Checks a converted file against its model and returns its entry for the manifest.

    Args:
      path, quantization: the file.
      evaluation: the examples, and the Keras model's outputs, to which the entry compares.
      exact: gives the outputs that the file must have; None: those of the Keras model.
    """
    network = evaluation.network
    load, describe = _FORMATS[path.suffix]
    outputs = load(path).predict_all(evaluation.values)
    required = evaluation.outputs if exact is None else exact(evaluation.values)
    is_classifier = network.task == CLASSIFICATION
    found: dict[str, Agreement] = {}
    for name, expected, must, actual in zip(
        network.outputs, evaluation.outputs, required, outputs, strict=True
    ):
        compared = None if is_classifier else name
        found[name] = measure_agreement(expected, actual, compared)
        where = path.name if len(outputs) == 1 else f"output {name!r} of {path.name}"
        warnings = (
            check_outputs(must, actual, quantization, where, compared),
            disagreement(found[name], quantization, path.name),
        )
        for warning in filter(None, warnings):
            logging.warning("%s", warning)
    scores = evaluation.scores(outputs)
    if network.task == DETECTION:
        before = evaluation.known["ap"]
        if warning := check_precision(before, scores["ap"], quantization, path.name):
            logging.warning("%s", warning)
    worst = asdict(max(found.values(), key=lambda agreement: agreement.rms))
    each = {name: asdict(agreement) for name, agreement in found.items()}
    return {
        **describe(path),
        "agreement": worst if len(each) == 1 else {**worst, "outputs": each},
        **scores,
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
