"""A detector's workdir as the source of a conversion."""

from pathlib import Path

import keras
import numpy as np

from common.detection.average_precision import Truth
from common.manifest import DETECTION
from converters.detector_workdir import (
    decoding_of,
    detector_calibration_inputs,
    load_detector,
    split_boxes,
)
from converters.source.from_model import describe_size
from converters.source.network import Input, Network, Samples
from converters.workdir import TrainedModel, network_name
from trainers.config import TrainConfig
from trainers.detection.data.cleaning import ImageBoxes


def network_of_detector(path: Path, data_dir: str | None = None) -> Network:
    """Returns a trained detector, with its data.

    Args:
      path: the workdir of a training with `task=detection`, or a `.keras` file in it.
      data_dir: where the data is, if it has moved since the training.

    Raises:
      UserError: the workdir cannot be used.

    Examples:
      >>> network_of_detector(Path("work")).decoding.strides
      (8, 16, 32)
    """
    trained = load_detector(path, data_dir)
    model, config = trained.model, trained.config
    how = config.detection
    return Network(
        name=f"{network_name(config.network)}_{how.neck}",
        model=model,
        inputs=(_input(model, config),),
        outputs=("raw",),
        calibration=lambda count: (detector_calibration_inputs(trained, count),),
        evaluation=lambda count: _evaluation(trained, count),
        task=DETECTION,
        labels=tuple(trained.labels),
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
        decoding=decoding_of(trained),
    )


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


def _evaluation(trained: TrainedModel, count: int) -> Samples:
    images, boxes = split_boxes(trained, trained.config.data.eval_split, count)
    size = trained.config.images.input_size
    return Samples((images,), truths=tuple(_scaled(one, size) for one in boxes))


def _scaled(image: ImageBoxes, size: int) -> Truth:
    """Returns the boxes of an image in pixels of the network's input."""
    factors = np.array([size / image.width, size / image.height] * 2, np.float32)
    return Truth(image.boxes * factors, image.classes, image.crowds, image.difficult)
