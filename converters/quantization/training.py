"""Quantization-aware training: the fake-quantized deployment graph in the trainer's loop.

Post-training quantization is the same without a step: same graph, same ranges.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tf_keras

from common import files
from common.cli import UserError
from converters.detector_workdir import detector_calibration_inputs, load_detector
from converters.graph.deployment import deployment_graph
from converters.graph.emitter import emit
from converters.graph.operations import Graph
from converters.quantization.calibration import calibrate, pixel_range
from converters.quantization.class_order import sources_in_order
from converters.quantization.config import (
    BEST_WEIGHTS_FILE,
    RANGES_FILE,
    WEIGHTS_FILE,
    QatConfig,
    is_file,
    load_ranges,
    model_sha256,
    save_ranges,
)
from converters.quantization.fake_quantization import Range, SharedRange, fake_quant_model
from converters.source.classifier_file import open_classifier
from converters.source.flags import ModelFlags
from converters.workdir import TrainedModel, calibration_inputs, load_trained
from trainers import loop, tasks
from trainers.config import TrainConfig
from trainers.data.class_names import LABELS_FILE, check_same
from trainers.data.sources import Source
from trainers.detection.task import DetectionTask
from trainers.networks.distillation import Distillation
from trainers.task import Task

# What HDF5 needs for an array besides its values, at most.
_HDF5_BYTES = 2**13


class QatModel(NamedTuple):
    """A deployment graph and its fake-quantized tf_keras model after training."""

    graph: Graph
    model: tf_keras.Model


def train_quantized(
    config: TrainConfig,
    qat: QatConfig,
    resume: bool = False,
    labels: Sequence[str] = (),
) -> None:
    """Trains a float model with int8 rounding in it; writes the results to config.workdir.

    Args:
      config: the settings of this training; data and preprocessing are the float training's.
      qat: what to quantize, and how.
      resume: continue from the last checkpoint, bit-identical to a run that never stopped.
      labels: of a `.keras` file, the class names in the order of its output; a resumed run has
        them in its folder.

    Raises:
      UserError: as for `trainers.loop.train`, or the float model or the ranges cannot be used.
    """
    kind = _kind(config, qat)
    _, load = tasks.choose(config)
    if is_file(qat.model):
        load = sources_in_order(labels)
    loop.train(config, resume, lambda config: kind(config, qat, resume), load)


class QatTask(Task):
    """The task of training the fake-quantized deployment graph, from the float model's weights.

    Batches, loss and scores are those of the float training's task.

    Args:
      config: the run's settings.
      qat: what to quantize, and how.
      resume: use the ranges in `config.workdir` instead of calibrating.

    Attributes:
      graph: the deployment graph, with the float weights.
      ranges: (minimum, maximum) of the activations, by scale; they do not train.
    """

    best_file = BEST_WEIGHTS_FILE
    final_file = WEIGHTS_FILE
    # The start is post-training quantization, which the training has to beat.
    evaluates_start = True
    # How the images for calibration are read.
    calibration_inputs = staticmethod(calibration_inputs)

    def __init__(self, config: TrainConfig, qat: QatConfig, resume: bool = False):
        super().__init__(config)
        self._qat = qat
        self._sha256 = model_sha256(qat.model)
        trained = self.load_trained(qat.model, config)
        self._labels = trained.labels
        self.graph = deployment_graph(trained.model, qat.target)
        if resume:
            self.ranges = load_ranges(Path(config.workdir))
        else:
            images = self.calibration_inputs(trained, qat.calibration_images)
            pixels = pixel_range(config.images.preprocessing)
            self.ranges = calibrate(self.graph, images, qat.ranges, pixels)

    @staticmethod
    def load_trained(model: Path, config: TrainConfig) -> TrainedModel:
        """Returns the float model, whose data is where that of this training is."""
        return load_trained(model, config.data.data_dir)

    def build(self, source: Source) -> tf_keras.Model:
        """Returns the fake-quantized graph; raises UserError if the data has other classes."""
        if self._labels is not None:
            place = self._qat.model / LABELS_FILE
            check_same(source.class_names, self._labels, self.config.data, place)
        if self._qat.distill:
            # The float model's outputs apart from rounding, and faster than from the Keras model.
            teacher = emit(self.graph)
            self._distillation = Distillation(
                functools.partial(teacher, training=False),
                self._qat.temperature,
                self._qat.distill_weight,
                self.distillation_losses,
            )
        return _fake_quant_model(self.graph, self.ranges, Path(self.config.workdir))

    def save(self, model: tf_keras.Model, path: Path) -> None:
        """Writes the weights, ranges included, to an HDF5 file."""
        files.check_free(path, sum(each.nbytes + _HDF5_BYTES for each in model.get_weights()))
        with files.atomic_write(path) as temporary:
            model.save_weights(temporary)

    def save_config(self) -> None:
        """Writes `ranges.json`, then `config.json`."""
        save_ranges(Path(self.config.workdir), self._qat.ranges, self.ranges)
        self._qat.save(self.config, self._sha256)

    def resume_command(self) -> str:
        """Returns the command that continues the run."""
        return (
            f"shufflenet quantize --model={self._qat.model} "
            f"--workdir={self.config.workdir} --resume"
        )


class QatDetectionTask(QatTask, DetectionTask):
    """The same for a detector: with its batches, its loss and average precision."""

    calibration_inputs = staticmethod(detector_calibration_inputs)

    @staticmethod
    def load_trained(model: Path, config: TrainConfig) -> TrainedModel:
        """Returns the float detector, whose data is where that of this training is."""
        return load_detector(model, config.data.data_dir)


class QatFileTask(QatTask):
    """The same for a classifier in a `.keras` file, on photographs in class folders."""

    @staticmethod
    def load_trained(model: Path, config: TrainConfig) -> TrainedModel:
        """Returns the classifier with the settings of this training: it has none of its own."""
        images = config.images
        known = ModelFlags(preprocessing=images.preprocessing, input_size=images.input_size)
        return TrainedModel(open_classifier(model, known).model, config, None)


def _kind(config: TrainConfig, qat: QatConfig) -> type[QatTask]:
    if is_file(qat.model):
        return QatFileTask
    return QatDetectionTask if config.detection.is_detection else QatTask


def load_qat(folder: str | Path) -> QatModel:
    """Loads a model that `converters.quantize` trained, with bit-identical logits.

    The graph is built again from the float model; the weights come from the folder.

    Args:
      folder: the folder of the quantization-aware training, usually WORKDIR/qat.

    Raises:
      UserError: a file is missing or damaged, or the float model has changed since.

    Examples:
      >>> logits = load_qat("work/qat").model(images)
    """
    folder = Path(folder)
    qat, config = QatConfig.load(folder), TrainConfig.load(folder)
    trained = _kind(config, qat).load_trained(qat.model, config)
    graph = deployment_graph(trained.model, qat.target)
    model = _fake_quant_model(graph, load_ranges(folder), folder)
    _load_weights(model, folder / WEIGHTS_FILE)
    return QatModel(graph, model)


def _fake_quant_model(graph: Graph, ranges: dict[str, Range], folder: Path) -> tf_keras.Model:
    try:
        return fake_quant_model(graph, ranges)
    except KeyError as error:
        raise UserError(
            f"{folder / RANGES_FILE} has no range for {error}; restore it, or quantize into a "
            "new folder"
        ) from None


def _load_weights(model: tf_keras.Model, path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path} is missing; finish the training with shufflenet quantize --resume")
    ranges = _range_values(model)
    try:
        model.load_weights(path)
    except Exception as error:  # tf_keras passes on what HDF5 and its own checks raise.
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(
            f"{path} cannot be loaded ({reason}); restore it, or quantize into a new folder"
        ) from error
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise UserError(f"{path} has non-finite weights; restore it")
    if ranges != _range_values(model):
        raise UserError(
            f"{path} and {path.parent / RANGES_FILE} have different ranges; restore them, or "
            "quantize into a new folder"
        )


def _range_values(model: tf_keras.Model) -> dict[str, list[float]]:
    layers = [layer for layer in model.layers if isinstance(layer, SharedRange)]
    return {layer.name: [float(value) for value in layer.get_weights()] for layer in layers}
