"""Reads what conversion and quantization need from a detector's workdir."""

import dataclasses
from pathlib import Path

import numpy as np

from common.cli import UserError
from common.detection.boxes import SIDES
from common.detection.decoding import Decoding
from converters.options import MIN_CALIBRATION_IMAGES
from converters.workdir import MODEL, TrainedModel, read_settings
from keras_shufflenet import detector_strides, preprocess_input
from trainers.data.pipeline import reading_errors
from trainers.detection.batches import BatchSettings, box_source, evaluation_images
from trainers.detection.data.cleaning import ImageBoxes
from trainers.detection.task import open_sources
from trainers.networks.classifiers import check_precision
from trainers.networks.models import check_preprocessing, load_model
from trainers.settings import MODEL_SUFFIX

_BATCH = 32


def load_detector(model: Path, data_dir: str | None = None) -> TrainedModel:
    """Loads a detector, with `config.json` and `labels.txt` of its workdir.

    Args:
      model: the workdir of a training with `task=detection`, of which `model.keras` is loaded, or
        another `.keras` file in it.
      data_dir: where the data is, if it has moved since the training.

    Raises:
      UserError: one of them is missing or damaged, or they do not match; the message names it.

    Examples:
      >>> load_detector(Path("work")).labels
      ['RBC', 'WBC', 'Platelets']
    """
    is_file = model.suffix == MODEL_SUFFIX and not model.is_dir()
    path = model if is_file else model / MODEL
    config, labels = read_settings(path.parent, data_dir, path.name)
    trained = TrainedModel(load_model(path), config, labels)
    _check(trained, path)
    check_preprocessing(trained.model, config.images.preprocessing, path)
    check_precision(trained.model, path)
    return trained


def decoding_of(trained: TrainedModel) -> Decoding:
    """Returns how a detector's output becomes boxes."""
    size = trained.config.images.input_size
    return Decoding(size, size, detector_strides(trained.model), len(trained.labels))


def _check(trained: TrainedModel, path: Path) -> None:
    """Raises UserError if the model is not of its training."""
    model, config, classes = trained.model, trained.config, len(trained.labels)
    try:
        strides = detector_strides(model)
    except ValueError:
        raise UserError(
            f"{path} is no detector, but its training's config.json says so; they do not come from "
            "the same training"
        ) from None
    size, wanted = config.images.input_size, config.detection.all_strides
    found = (tuple(model.input_shape[1:3]), model.output_shape[-1], strides)
    if found != ((size, size), SIDES + classes, wanted):
        raise UserError(
            f"{path} maps {model.input_shape} to {model.output_shape} at strides {strides}, but "
            f"its training's images have {size}x{size} pixels and {classes} classes, and its "
            f"strides are {wanted}; name the workdir that it comes from"
        )


def split_boxes(
    trained: TrainedModel, split: str, count: int
) -> tuple[np.ndarray, tuple[ImageBoxes, ...]]:
    """Returns a random sample of a split, at most `count` images.

    Returns:
      uint8 [n, size, size, channels], scaled to the network's input, and their boxes in pixels of
      the images' own sizes.

    Raises:
      UserError: the data cannot be read, or has other classes than the model.
    """
    config = trained.config
    size, channels = config.images.input_size, trained.model.input_shape[-1]
    (source,) = open_sources(config.data, [split], config.workdir, labels=trained.labels)
    every = source.found.images
    order = np.random.default_rng(config.optimization.seed).permutation(len(every))[:count]
    part = dataclasses.replace(source.found, images=tuple(every[index] for index in sorted(order)))
    settings = BatchSettings(size, size, _BATCH, channels=channels)
    with reading_errors(config.data.place):
        batches = list(evaluation_images(settings, box_source(part, channels)).as_numpy_iterator())
    return np.concatenate(batches), part.images


def detector_calibration_inputs(trained: TrainedModel, count: int) -> np.ndarray:
    """Returns preprocessed float32 training images, at most `count`, as a device sees them.

    Raises:
      UserError: there are too few for calibration.
    """
    data = trained.config.data
    images, _ = split_boxes(trained, data.train_split, count)
    if len(images) < MIN_CALIBRATION_IMAGES:
        raise UserError(
            f"split {data.train_split!r} of {data.place} has {len(images)} images for "
            f"calibration, but int8 needs {MIN_CALIBRATION_IMAGES}; add images"
        )
    return preprocess_input(images, mode=trained.config.images.preprocessing)
