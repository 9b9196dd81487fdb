"""From the bytes of a file to upright pixels: every kind of image, or only a part of a JPEG.

An image is uint8 [height, width, channels], or the bytes of a file as a string tensor. Decoding
only a part of a JPEG saves the inverse transforms of the rest.
"""

from collections.abc import Callable

import tensorflow as tf

# As Pillow and cameras decode; TensorFlow's own choice is faster and less exact.
_DCT_METHOD = "INTEGER_ACCURATE"
# A JPEG's EXIF follows its first two bytes, or the 18 bytes of JFIF after them.
_EXIF = r"(\C{6}|\C{24})Exif\x00\x00"
_NEAR, _HEAD = 30, 4096
# The segment's first bytes: its marker, its size, its name; then the TIFF header.
_ANY = -1
_SEGMENT = (0xFF, 0xE1, _ANY, _ANY, *b"Exif\0\0")
# EXIF's tag, and the bytes of an entry of its table: tag, type, count, value.
_ORIENTATION, _ENTRY, _MAX_ENTRIES = 0x0112, 12, 100


def decode(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Returns a uint8 image [height, width, channels]; a decoded image is returned unchanged.

    A JPEG is turned as its EXIF orientation says.

    Args:
      image: bytes of a JPEG, PNG, BMP, GIF (its first frame) or WebP file, or a decoded image.
      channels: 1 or 3; grey and colour images are converted, and transparency is dropped: a pixel
        has its colour even where it is fully transparent.
    """
    if image.dtype != tf.string:
        return image

    def decode_jpeg() -> tf.Tensor:
        return tf.io.decode_jpeg(image, channels=channels, dct_method=_DCT_METHOD)

    decoded = tf.switch_case(
        _kind(image),
        [
            lambda: _decode_other(image, channels),
            decode_jpeg,
            _apart(lambda: turn(decode_jpeg(), orientation(image))),
        ],
    )
    decoded.set_shape([None, None, channels])
    return decoded


def decode_part(
    image: tf.Tensor, channels: int, choose: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the window of an image that `choose` selects; only this part of a JPEG is decoded.

    Args:
      image: bytes of a file, or a decoded image.
      channels: 1 or 3, of an encoded image.
      choose: maps the upright image's shape, int32 [3], to the window, int32 [top, left, height,
        width], and a second value that is passed on.

    Returns:
      [height, width, channels], and the second value of `choose`.
    """

    def cut(decoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        window, passed = choose(tf.shape(decoded))
        top, left, height, width = tf.unstack(window)
        return decoded[top : top + height, left : left + width], passed

    def decode_window(window: tf.Tensor) -> tf.Tensor:
        return tf.io.decode_and_crop_jpeg(image, window, channels=channels, dct_method=_DCT_METHOD)

    def decode_jpeg() -> tuple[tf.Tensor, tf.Tensor]:
        window, passed = choose(tf.io.extract_jpeg_shape(image))
        return decode_window(window), passed

    def decode_and_turn() -> tuple[tf.Tensor, tf.Tensor]:
        way = orientation(image)
        shape = _upright_shape(tf.io.extract_jpeg_shape(image), way)
        window, passed = choose(shape)
        return turn(decode_window(_stored_window(window, shape, way)), way), passed

    if image.dtype != tf.string:
        return cut(image)
    part, passed = tf.switch_case(
        _kind(image),
        [lambda: cut(_decode_other(image, channels)), decode_jpeg, _apart(decode_and_turn)],
    )
    part.set_shape([None, None, channels])
    return part, passed


def _apart(branch: Callable) -> Callable:
    """Returns a branch that is one operator of the graph, for a branch that is rarely taken.

    Otherwise TensorFlow visits all its operators for every image: for one of 32 pixels that takes
    half the time of decoding.
    """
    return tf.function(branch, autograph=False, experimental_attributes={"_noinline": True})


def _kind(image: tf.Tensor) -> tf.Tensor:
    """Returns 2 for a JPEG with EXIF, 1 for another JPEG, and 0 for the other kinds of images."""
    # No other kind of file has this name at one of these places.
    has_exif = tf.strings.regex_full_match(tf.strings.substr(image, 0, _NEAR), _EXIF)
    return tf.cast(tf.io.is_jpeg(image), tf.int32) + tf.cast(has_exif, tf.int32)


def _decode_other(image: tf.Tensor, channels: int) -> tf.Tensor:
    def decode_colours() -> tf.Tensor:
        return tf.io.decode_image(image, channels=3, expand_animations=False)

    if channels == 3:
        return decode_colours()
    # TensorFlow has no grey version of the others.
    return tf.cond(
        tf.strings.substr(image, 0, 4) == b"\x89PNG",
        lambda: tf.io.decode_png(image, channels=1),
        lambda: tf.image.rgb_to_grayscale(decode_colours()),
    )


def orientation(image: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF orientation of a JPEG, int32 from 1 (upright) to 8; 1 if it has none.

    Args:
      image: bytes of a file; only its first 4096 are read.

    Source: CIPA DC-008 (EXIF 2.3), sections 4.5 and 4.6.
    """
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(image, 0, _HEAD), tf.uint8), tf.int32)
    # A file may end anywhere; zeros are not an orientation.
    head = tf.concat([head, tf.zeros([2 * _HEAD], tf.int32)], 0)
    names = tf.stack([head[shift : shift + _HEAD] for shift in range(len(_SEGMENT))], 1)
    is_segment = tf.reduce_all((names == _SEGMENT) | (tf.constant(_SEGMENT) == _ANY), 1)
    segment = head[tf.argmax(is_segment, output_type=tf.int32) :]
    end = 2 + 256 * segment[2] + segment[3]
    tiff = tf.where(tf.range(tf.size(segment)) < end, segment, 0)[len(_SEGMENT) :]
    is_little = tiff[0] == ord("I")

    def number(data: tf.Tensor) -> tf.Tensor:
        places = tf.constant([1 << 8 * place for place in reversed(range(data.shape[-1]))])
        return tf.reduce_sum(tf.where(is_little, tf.reverse(data, [-1]), data) * places, -1)

    table = tf.clip_by_value(number(tf.ensure_shape(tiff[4:8], [4])), 0, _HEAD)
    count = number(tf.ensure_shape(tiff[table : table + 2], [2]))
    entries = tiff[table + 2 : table + 2 + _ENTRY * _MAX_ENTRIES]
    entries = tf.reshape(entries, [_MAX_ENTRIES, _ENTRY])[:count]
    values = number(entries[:, 8:10])
    is_orientation = (number(entries[:, :2]) == _ORIENTATION) & (values >= 1) & (values <= 8)
    found = tf.maximum(tf.reduce_max(tf.where(is_orientation, values, 1)), 1)
    return tf.where(tf.reduce_any(is_segment), found, 1)


def turn(image: tf.Tensor, way: tf.Tensor) -> tf.Tensor:
    """Returns an image [height, width, channels] as its EXIF orientation, int32, says."""
    is_transposed, mirrored = _moves(way)
    image = tf.cond(is_transposed, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    return tf.reverse(image, tf.where(mirrored)[:, 0])


def _moves(way: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns whether to exchange rows and columns; and then, bool [2], which axes to mirror."""
    is_vertical, is_horizontal = (
        tf.reduce_any(way == ways) for ways in ([3, 4, 7, 8], [2, 3, 6, 7])
    )
    return way >= 5, tf.stack([is_vertical, is_horizontal])


def _upright_shape(shape: tf.Tensor, way: tf.Tensor) -> tf.Tensor:
    return tf.where(_moves(way)[0], tf.gather(shape, [1, 0, 2]), shape)


def _stored_window(window: tf.Tensor, shape: tf.Tensor, way: tf.Tensor) -> tf.Tensor:
    """Returns where a window [top, left, height, width] of an upright image is in its file.

    Args:
      window: in the upright image.
      shape: of the upright image.
      way: the EXIF orientation.
    """
    is_transposed, mirrored = _moves(way)
    begin, extent = window[:2], window[2:]
    begin = tf.where(mirrored, shape[:2] - begin - extent, begin)
    return tf.where(
        is_transposed,
        tf.concat([begin[::-1], extent[::-1]], 0),
        tf.concat([begin, extent], 0),
    )
