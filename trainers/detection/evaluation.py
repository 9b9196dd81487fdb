"""Scores of a detector: average precision on the images of a set, at their own sizes."""

from collections.abc import Callable, Sequence

import numpy as np

from common.detection.average_precision import AveragePrecision, average_precision
from common.detection.boxes import make_points
from common.detection.nms import Detections, detect
from keras_shufflenet.preprocessing import preprocess_input
from trainers.detection.batches import BatchSettings, box_source, evaluation_images
from trainers.detection.data.cleaning import ImageBoxes
from trainers.detection.data.dataset import DetectionSet


def found_in(
    predict: Callable[[np.ndarray], np.ndarray],
    strides: Sequence[int],
    found: DetectionSet,
    settings: BatchSettings,
    **limits: float,
) -> list[Detections]:
    """Returns what a detector finds in each image, in pixels of the image.

    Args:
      predict: from float32 [n, height, width, channels], normalized, to raw outputs
        [n, points, 4 + classes]; a Keras model's `predict_on_batch`, or that of a .tflite file.
      strides: of the detector (`keras_shufflenet.detector_strides`).
      found: the images.
      settings: sizes and normalization.
      **limits: those of `common.detection.nms.suppress`.
    """
    points = make_points(settings.height, settings.width, strides)
    detections = []
    batches = evaluation_images(settings, box_source(found, settings.channels))
    for images in batches.as_numpy_iterator():
        inputs = preprocess_input(images, mode=settings.preprocessing)
        detections += detect(np.asarray(predict(inputs)), points, **limits)
    return [
        in_image(one, image, settings.height, settings.width)
        for one, image in zip(detections, found.images, strict=True)
    ]


def in_image(found: Detections, image: ImageBoxes, height: int, width: int) -> Detections:
    """Returns boxes of the network's input, of a height and width, in pixels of the image."""
    return in_pixels(found, (image.width, image.height), (height, width))


def in_pixels(found: Detections, image: tuple[int, int], size: tuple[int, int]) -> Detections:
    """Returns boxes of the network's input in pixels of an image.

    Args:
      found: the detections.
      image: (width, height) of the upright image.
      size: (height, width) of the network's input.
    """
    factors = np.array([image[0] / size[1], image[1] / size[0]] * 2, np.float32)
    return found._replace(boxes=found.boxes * factors)


def precision_of(detections: Sequence[Detections], found: DetectionSet) -> AveragePrecision:
    """Returns the average precision of what was found in each image of a set."""
    truths = [image.truth for image in found.images]
    return average_precision(truths, detections, len(found.class_names))


def evaluate(
    predict: Callable[[np.ndarray], np.ndarray],
    strides: Sequence[int],
    found: DetectionSet,
    settings: BatchSettings,
) -> AveragePrecision:
    """Returns the average precision of a detector on a set; as `found_in`.

    Examples:
      >>> scores = evaluate(model.predict_on_batch, detector_strides(model), val, settings)
      >>> scores.ap50
      0.845
    """
    return precision_of(found_in(predict, strides, found, settings), found)
