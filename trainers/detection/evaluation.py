"""Scores of a detector: average precision on the images of a set, at their own sizes."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from common.detection.average_precision import AveragePrecision, average_precision
from common.detection.boxes import SIDES
from common.detection.nms import MOST, Detections
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


def gathered(
    found: Mapping[int, Detections], count: int, add: Callable[[np.ndarray], np.ndarray]
) -> list[Detections]:
    """Returns what all workers found in each image of a set.

    Args:
      found: by the image's number; each image is in one worker's.
      count: of the images in the set.
      add: sums an array, float32 [n], over all workers. It gets zeros from all workers but one, so
        the sums are exact.
    """
    packed = np.zeros((count, MOST, SIDES + 2), np.float32)
    for number, (boxes, scores, classes) in found.items():
        # Class 0 must differ from no detection.
        packed[number, : len(boxes)] = np.column_stack([boxes, scores, classes + 1])
    packed = add(packed.reshape(-1)).reshape(packed.shape)
    rows = (image[image[:, -1] > 0] for image in packed)
    return [
        Detections(each[:, :SIDES], each[:, SIDES], each[:, -1].astype(np.int64) - 1)
        for each in rows
    ]
