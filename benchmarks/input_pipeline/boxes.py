"""Training streams of images with boxes: this project's, and a plain tf.data one."""

from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks.input_pipeline.settings import Setting
from keras_shufflenet import preprocess_input
from trainers.detection.augmentation import BoxAugmentation
from trainers.detection.batches import BatchSettings, box_source, training_batches
from trainers.detection.data.cleaning import ImageBoxes
from trainers.detection.data.dataset import DetectionSet

_SEED = 0
_CLASSES = 8
# Shares of an image's sides.
_SMALLEST, _LARGEST = 0.05, 0.3
_ASPECT_RATIOS = (3 / 4, 4 / 3)
# As `BoxAugmentation` has them by default.
_CONTRAST, _SHIFT = 0.2, 20.0


def random_boxes(images: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns boxes, float32 [images, count, 4], as shares of the images, and their classes."""
    rng = np.random.default_rng(_SEED)
    begin = rng.uniform(0, 1 - _LARGEST, (images, count, 2))
    end = begin + rng.uniform(_SMALLEST, _LARGEST, begin.shape)
    classes = rng.integers(0, _CLASSES, (images, count), np.int32)
    return np.float32(np.concatenate([begin, end], -1)), classes


def our_batches(setting: Setting, folder: Path) -> tf.data.Dataset:
    """Returns what a detector's training reads."""
    files = _files(folder)
    shares, classes = random_boxes(len(files), setting.boxes)
    images = tuple(map(_with_boxes, files, shares, classes))
    found = DetectionSet("train", tuple(map(str, range(_CLASSES))), images, Counter(), ())
    how = BatchSettings(setting.size, setting.size, setting.batch_size, "torch")
    return training_batches(how, BoxAugmentation(), box_source(found))


def _with_boxes(file: str, shares: np.ndarray, classes: np.ndarray) -> ImageBoxes:
    with Image.open(file) as image:
        width, height = image.size
    boxes = shares * np.float32([width, height, width, height])
    no = np.zeros(len(boxes), bool)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return ImageBoxes(file, width, height, boxes, classes, no, no, areas)


def random_window(image: tf.Tensor, min_area: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns begin and extent of a part of an image, and the part as tf.image has it as a box."""
    return tf.image.sample_distorted_bounding_box(
        tf.shape(image),
        bounding_boxes=tf.zeros([1, 0, 4]),
        use_image_if_no_bounding_boxes=True,
        aspect_ratio_range=_ASPECT_RATIOS,
        area_range=(min_area, 1.0),
    )


def plain_batches(setting: Setting, folder: Path, antialias: bool) -> tf.data.Dataset:
    """Decodes, cuts a window out, resizes, mirrors, recolours and normalizes, with tf.image."""
    files = _files(folder)
    examples = (files, *random_boxes(len(files), setting.boxes))
    size = setting.size

    def load(file: tf.Tensor, boxes: tf.Tensor, classes: tf.Tensor):
        image = tf.io.decode_jpeg(tf.io.read_file(file), channels=3)
        begin, extent, window = random_window(image, setting.min_area)
        image = tf.image.resize(tf.slice(image, begin, extent), [size, size], antialias=antialias)
        image, boxes = _mirrored(image, _in_window(boxes, window[0, 0]))
        image = tf.image.random_brightness(image, _SHIFT)
        image = tf.image.random_contrast(image, 1 - _CONTRAST, 1 + _CONTRAST)
        image = tf.ensure_shape(tf.clip_by_value(image, 0, 255), [size, size, 3])
        is_seen = tf.reduce_all(boxes[:, 2:] > boxes[:, :2], -1)
        return preprocess_input(image, mode="torch"), boxes[is_seen] * size, classes[is_seen]

    stream = tf.data.Dataset.from_tensor_slices(examples).shuffle(len(files)).repeat()
    stream = stream.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    shapes = [size, size, 3], [setting.boxes, 4], [setting.boxes]
    return stream.padded_batch(setting.batch_size, shapes).prefetch(tf.data.AUTOTUNE)


def _in_window(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Returns boxes, shares of the image, as shares of a window (top, left, bottom, right)."""
    top, left, bottom, right = tf.unstack(window)
    extent = tf.stack([right - left, bottom - top] * 2)
    return tf.clip_by_value((boxes - tf.stack([left, top] * 2)) / extent, 0, 1)


def _mirrored(image: tf.Tensor, boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    left, top, right, bottom = tf.unstack(boxes, axis=1)
    return tf.cond(
        tf.random.uniform([]) < 0.5,
        lambda: (
            tf.image.flip_left_right(image),
            tf.stack([1 - right, top, 1 - left, bottom], 1),
        ),
        lambda: (image, boxes),
    )


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.glob("train/*/*.jpg"))
