"""A detector's workdir as the source of a conversion."""

import dataclasses
from pathlib import Path

import keras
import numpy as np

from common.cli import UserError
from common.detection.average_precision import Truth
from common.detection.boxes import SIDES
from common.detection.decoding import Decoding
from common.manifest import DETECTION
from converters.options import MIN_CALIBRATION_IMAGES
from converters.source.from_model import describe_size
from converters.source.network import Input, Network, Samples
from converters.workdir import MODEL, TrainedModel, network_name, read_settings
from keras_shufflenet import detector_strides, preprocess_input
from trainers.config import TrainConfig
from trainers.data.pipeline import reading_errors
from trainers.detection.batches import REMEDY, BatchSettings, box_source, evaluation_images
from trainers.detection.data.cleaning import ImageBoxes
from trainers.detection.task import open_sources
from trainers.networks.classifiers import check_precision
from trainers.networks.models import check_preprocessing, load_model

_BATCH = 32


def network_of_detector(workdir: Path, data_dir: str | None = None) -> Network:
    """Returns a trained detector, with its data.

    Args:
      workdir: of a training with `task=detection`.
      data_dir: where the data is, if it has moved since the training.

    Raises:
      UserError: the workdir cannot be used.

    Examples:
      >>> network_of_detector(Path("work")).decoding.strides
      (8, 16, 32)
    """
    config, labels = read_settings(workdir, data_dir)
    model = load_model(workdir / MODEL)
    decoding = _decoding(model, workdir / MODEL, config, len(labels))
    trained = TrainedModel(model, config, labels)
    how = config.detection
    return Network(
        name=f"{network_name(config.network)}_{how.neck}",
        model=model,
        inputs=(_input(model, config),),
        outputs=("raw",),
        calibration=lambda count: (_calibration(trained, count),),
        evaluation=lambda count: _evaluation(trained, count),
        task=DETECTION,
        labels=tuple(labels),
        description={
            "model": {
                "model": config.network.model,
                "scale": config.network.scale,
                "neck": how.neck,
                "neck_width": how.neck_width,
                **describe_size(model),
            },
            "training": config.to_flat(),
        },
        decoding=decoding,
    )


def _decoding(model: keras.Model, path: Path, config: TrainConfig, classes: int) -> Decoding:
    """Returns how the model's output becomes boxes; raises UserError if it is another's."""
    try:
        strides = detector_strides(model)
    except ValueError:
        raise UserError(
            f"{path} is no detector, but its training's config.json says so; they do not come from "
            "the same training"
        ) from None
    check_preprocessing(model, config.images.preprocessing, path)
    check_precision(model, path)
    size = config.images.input_size
    decoding = Decoding(size, size, strides, classes)
    found = (tuple(model.input_shape[1:3]), model.output_shape[-1])
    if found != ((size, size), SIDES + classes):
        raise UserError(
            f"{path} maps {model.input_shape} to {model.output_shape}, but its training's images "
            f"have {size}x{size} pixels and {classes} classes; name the workdir that it comes from"
        )
    return decoding


def _input(model: keras.Model, config: TrainConfig) -> Input:
    height, width, channels = model.input_shape[1:]
    photograph = {
        "channels": ["grey"] if channels == 1 else ["red", "green", "blue"],
        "orientation": "exif",
        # The whole image, whatever its shape: `trainers.detection.batches.as_on_devices`.
        "resize": {"height": height, "width": width, "filter": "triangle", "antialias": True},
        "crop": None,
    }
    shape = (height, width, channels)
    return Input("image", shape, config.images.preprocessing, photograph)


def _calibration(trained: TrainedModel, count: int) -> np.ndarray:
    """Returns preprocessed float32 training images, at most `count`, as a device sees them."""
    data = trained.config.data
    images, _ = _split(trained, data.train_split, count)
    if len(images) < MIN_CALIBRATION_IMAGES:
        raise UserError(
            f"split {data.train_split!r} of {data.data_dir} has {len(images)} images for "
            f"calibration, but int8 needs {MIN_CALIBRATION_IMAGES}; add images"
        )
    return preprocess_input(images, mode=trained.config.images.preprocessing)


def _evaluation(trained: TrainedModel, count: int) -> Samples:
    images, boxes = _split(trained, trained.config.data.eval_split, count)
    size = trained.config.images.input_size
    return Samples((images,), truths=tuple(_scaled(one, size) for one in boxes))


def _split(
    trained: TrainedModel, split: str, count: int
) -> tuple[np.ndarray, tuple[ImageBoxes, ...]]:
    """Returns a random sample of a split: uint8 images of the network's input, and their boxes."""
    config = trained.config
    size, channels = config.images.input_size, trained.model.input_shape[-1]
    (source,) = open_sources(config.data, [split], labels=trained.labels)
    every = source.found.images
    order = np.random.default_rng(config.optimization.seed).permutation(len(every))[:count]
    part = dataclasses.replace(source.found, images=tuple(every[index] for index in sorted(order)))
    settings = BatchSettings(size, size, _BATCH, channels=channels)
    with reading_errors(str(config.data.data_dir), REMEDY):
        batches = list(evaluation_images(settings, box_source(part, channels)).as_numpy_iterator())
    return np.concatenate(batches), part.images


def _scaled(image: ImageBoxes, size: int) -> Truth:
    """Returns the boxes of an image in pixels of the network's input."""
    factors = np.array([size / image.width, size / image.height] * 2, np.float32)
    return Truth(image.boxes * factors, image.classes, image.crowds, image.difficult)
