"""Scores of a detector: average precision on the images of a set, at their own sizes."""

from collections.abc import Callable, Sequence

import numpy as np

from common.detection.average_precision import AveragePrecision, average_precision
from common.detection.nms import Detections
from trainers.detection.batches import BatchSettings, BoxSource, evaluation_images
from trainers.detection.data.cleaning import ImageBoxes
from trainers.detection.data.dataset import DetectionSet


def found_in(
    detect: Callable[[np.ndarray], list[Detections]], source: BoxSource, settings: BatchSettings
) -> list[Detections]:
    """Returns what a detector finds in each image, in pixels of the image.

    Args:
      detect: from uint8 [n, height, width, channels] to what is found in each, in its pixels.
      source: the images.
      settings: the sizes.
    """
    batches = evaluation_images(settings, source)
    made = [one for batch in batches.as_numpy_iterator() for one in detect(batch)]
    return [
        in_image(one, image, *settings.size)
        for one, image in zip(made, source.found.images, strict=True)
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
