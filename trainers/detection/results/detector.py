"""A trained detector from a file: from images to boxes."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.artifact import Artifact
from common.cli import UserError
from common.detection.boxes import SIDES, Points, make_points
from common.detection.nms import Detections, detect
from common.tflite.isolated import IsolatedModel
from keras_shufflenet import detector_strides, preprocess_input
from trainers.config import TrainConfig
from trainers.detection.batches import BatchSettings
from trainers.networks import models


@dataclass(frozen=True)
class Detector:
    """A detector of a file, of any format.

    Attributes:
      path: the file.
      labels: class names, in the order of the outputs.
      settings: how an image becomes its input.
      points: where it predicts.
      normalize: from uint8 images to the network's input, float32.
      raw: from float32 [n, height, width, channels], normalized, to [n, points, 4 + classes].
    """

    path: Path
    labels: Sequence[str]
    settings: BatchSettings
    points: Points
    normalize: Callable[[np.ndarray], np.ndarray]
    raw: Callable[[np.ndarray], np.ndarray]

    def detect(self, images: np.ndarray, **limits: float) -> list[Detections]:
        """Returns what is found in each image, in pixels of the network's input.

        Args:
          images: uint8 [n, height, width, channels], scaled to the network's input.
          **limits: those of `common.detection.nms.suppress`.
        """
        raw = self.raw(self.normalize(images))
        if not np.isfinite(raw).all():
            raise UserError(f"{self.path} gives non-finite numbers; train it again")
        return detect(raw, self.points, **limits)


def open_detector(path: Path, config: TrainConfig, labels: Sequence[str]) -> Detector:
    """Opens a `.keras` or a `.tflite` file of a detector.

    Args:
      path: the file.
      config: of the training that it comes from.
      labels: the training's class names.

    Raises:
      UserError: there is no such file, it is damaged, or is no detector for these images and
        classes.

    Examples:
      >>> detector = open_detector(work / "model.keras", TrainConfig.load(work), read_labels(work))
    """
    if path.suffix == ".tflite":
        # In a process of its own: nobody knows where the file comes from.
        file = IsolatedModel(path)
        inputs, outputs, raw = file.input_shape, file.output_shape, file.predict
        strides = config.detection.all_strides
    elif path.suffix == ".keras":
        model = models.load_model(path)
        strides = _strides(model, path)
        models.check_preprocessing(model, config.images.preprocessing, path)
        inputs, outputs, raw = model.input_shape, model.output_shape, _runner(model)
    else:
        raise UserError(f"{path} is not a model; name a workdir, a .keras or a .tflite file")
    size, images = config.images.input_size, config.images
    points = make_points(size, size, strides)
    channels = config.data.channels or 3
    _check(path, inputs, (size, size, channels), outputs, (len(points.strides), len(labels)))
    settings = BatchSettings(
        size,
        size,
        batch_size=config.optimization.batch_size,
        preprocessing=images.preprocessing,
        channels=channels,
    )
    normalize = functools.partial(preprocess_input, mode=images.preprocessing)
    return Detector(path, labels, settings, points, normalize, raw)


def detector_of_artifact(folder: Path, file: str | None = None) -> Detector:
    """Opens a file of a detector's artifact, which says itself how its output becomes boxes.

    Args:
      folder: the artifact.
      file: name of its `.tflite` file; None: its best for a device.

    Raises:
      UserError: something is missing or damaged, or it is no detector's.

    Examples:
      >>> detector_of_artifact(Path("artifact")).labels
      ['RBC', 'WBC', 'Platelets']
    """
    artifact = Artifact.open(folder)
    points = artifact.decoding.points
    _, height, width, channels = artifact.input_shape
    # In a process of its own, as above.
    network = artifact.load_isolated(file or artifact.default_file())
    settings = BatchSettings(height, width, batch_size=1, channels=channels)
    labels, normalize = artifact.labels, artifact.preprocess
    return Detector(network.path, labels, settings, points, normalize, network.predict)


def _runner(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    @tf.function(autograph=False, reduce_retracing=True)
    def run(inputs: tf.Tensor) -> tf.Tensor:
        return tf.cast(model(inputs, training=False), tf.float32)

    return lambda inputs: run(tf.constant(inputs, tf.float32)).numpy()


def _strides(model: Any, path: Path) -> tuple[int, ...]:
    try:
        return detector_strides(model)
    except ValueError:
        raise UserError(
            f"{path} is no detector, but its training's config.json says so; they do not come from "
            "the same training"
        ) from None


def _check(path: Path, inputs: Any, image: tuple, outputs: Any, wanted: tuple[int, int]) -> None:
    """Raises UserError unless the shapes, which include the batch, are those of the training."""
    points, classes = wanted
    if tuple(inputs[1:]) == image and tuple(outputs[1:]) == (points, SIDES + classes):
        return
    raise UserError(
        f"{path} maps {inputs} to {outputs}, but the training's images are {image} and its "
        f"{classes} classes at {points} points make (batch, {points}, {SIDES + classes}); name the "
        "workdir that the model comes from"
    )
