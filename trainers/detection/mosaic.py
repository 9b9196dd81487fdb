"""Mosaics: training images that are put together from windows of four.

An image then has more objects, smaller ones, and other surroundings (Bochkovskiy et al., 2020,
https://arxiv.org/abs/2004.10934, section 3.3).
"""

from collections.abc import Callable

import tensorflow as tf

from trainers.detection.augmentation import (
    BoxAugmentation,
    Boxes,
    augment,
    cut_out,
    random_window,
    vary,
)

# Where the four meet, as shares of the height and the width.
_LOW, _HIGH = 0.35, 0.65
_TILES = 4
# Folded into the example's key; `augmentation` has the numbers below.
_WHETHER, _OTHERS, _MIDDLE, _ZOOM = 11, 12, 13, 14


Image = tuple[tf.Tensor, Boxes]


def varied(
    own: Image,
    read: Callable[[tf.Tensor], Image],
    count: int,
    key: tf.Tensor,
    size: tuple[int, int],
    config: BoxAugmentation,
    channels: int = 3,
) -> Image:
    """Returns a random variant of an image and its boxes, a mosaic if chance says so.

    Args:
      own: the example's image, as for `augment`, and its boxes.
      read: from the number of an image to the same of another.
      count: of the images.
      key: int64 [2], the run's seed and the example's place in the training stream.
      size: (height, width) of the network's input.
      config: which changes are made.
      channels: 1 or 3, of encoded images.

    Returns:
      float32 [*size, channels], 0 to 255, and the boxes in pixels of it: with mosaics four times as
      many, of which some are padding.
    """
    if not config.mosaic:
        return augment(*own, key, size, config, channels)

    def together() -> Image:
        return vary(*compose(own, read, count, key, size, config, channels), key, size, config)

    def alone() -> Image:
        image, boxes = augment(*own, key, size, config, channels)
        return image, _padded(boxes)

    chance = tf.random.stateless_uniform([], tf.random.fold_in(key, _WHETHER))
    return tf.cond(chance < config.mosaic, together, alone)


def _padded(boxes: Boxes) -> Boxes:
    """Returns as many boxes as a mosaic has; the new ones are padding."""
    more = (_TILES - 1) * boxes.classes.shape[0]
    return Boxes(*(tf.pad(x, [[0, more], *[[0, 0]] * (len(x.shape) - 1)]) for x in boxes))


def compose(
    own: Image,
    read: Callable[[tf.Tensor], Image],
    count: int,
    key: tf.Tensor,
    size: tuple[int, int],
    config: BoxAugmentation,
    channels: int = 3,
) -> Image:
    """Returns a mosaic of an image and three others.

    Each tile is a window of its image: between one of the tile's share, whose objects keep their
    size, and the whole image.

    Args: as in `varied`; of the changes only the windows are made.
    """
    chosen = tf.random.stateless_uniform(
        [_TILES - 1], tf.random.fold_in(key, _OTHERS), 0, count, tf.int64
    )
    images = [own, *map(read, tf.unstack(chosen))]
    extent = tf.constant(size, tf.float32)
    middle = tf.random.stateless_uniform([2], tf.random.fold_in(key, _MIDDLE), _LOW, _HIGH)
    row, column = tf.unstack(tf.cast(tf.round(middle * extent), tf.int32))
    rows, columns = ((0, row), (row, size[0])), ((0, column), (column, size[1]))
    strips, boxes = [], []
    for number, (top, bottom) in enumerate(rows):
        tiles = []
        for place, (left, right) in enumerate(columns):
            index = 2 * number + place
            tile = tf.stack([bottom - top, right - left])
            fold = tf.random.fold_in(key, _ZOOM + index)
            pixels, found = _tile(*images[index], fold, tile, extent, config, channels)
            tiles.append(pixels)
            corner = tf.cast(tf.stack([left, top, left, top]), tf.float32)
            boxes.append(found._replace(boxes=found.boxes + corner))
        strips.append(tf.concat(tiles, 1))
    image = tf.ensure_shape(tf.concat(strips, 0), [*size, channels])
    return image, Boxes(*(tf.concat(values, 0) for values in zip(*boxes, strict=True)))


def _tile(
    image: tf.Tensor,
    boxes: Boxes,
    key: tf.Tensor,
    tile: tf.Tensor,
    whole: tf.Tensor,
    config: BoxAugmentation,
    channels: int,
) -> tuple[tf.Tensor, Boxes]:
    """Returns a window of an image, scaled to the size of a tile, int32 (height, width)."""
    share = tf.cast(tile, tf.float32) / whole
    zoom = tf.random.stateless_uniform([], tf.random.fold_in(key, 0))
    window = random_window(tf.random.fold_in(key, 1), config, share[::-1] ** zoom)
    return cut_out(image, boxes, window, tile, channels)
