"""The sizes of maps: what windows, paddings and resizings make of a height or a width."""

from collections.abc import Sequence

# Height, width and channels; or whatever a reshape makes of them. Without the batch.
Shape = tuple[int, ...]


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Returns (height, width) of a setting that may be one number for both."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def single(value: int | Sequence[int]) -> int | tuple[int, int]:
    """Returns one number for a setting whose height and width are equal."""
    height, width = pair(value)
    return height if height == width else (height, width)


def map_shape(shape: Shape) -> Shape:
    """Returns the (height, width, channels) that hold at most two axes of points and channels."""
    height, width = (*shape[:-1], 1, 1)[:2]
    return height, width, shape[-1]


def window_extent(extent: int, window: int, stride: int, padding: str, dilation: int = 1) -> int:
    """Returns how often a window fits along one direction, pixels.

    Args:
      extent: pixels of the map in that direction.
      window: pixels of the window, without its holes.
      stride: pixels between two windows.
      padding: "same" or "valid", as TensorFlow's.
      dilation: distance of the window's pixels.
    """
    if padding == "same":
        return -(-extent // stride)
    return (extent - (window - 1) * dilation - 1) // stride + 1


def windows(
    shape: Shape,
    window: int | Sequence[int],
    stride: int | Sequence[int],
    padding: str,
    dilation: int | Sequence[int] = 1,
) -> tuple[int, int]:
    """Returns the height and width of what a convolution or a pool makes of a map."""
    extents = zip(shape[:2], pair(window), pair(stride), pair(dilation), strict=True)
    height, width = (
        window_extent(extent, size, step, padding, holes) for extent, size, step, holes in extents
    )
    return height, width


def transposed_extent(extent: int, window: int, stride: int, padding: str) -> int:
    """Returns the extent that a transposed convolution makes, pixels."""
    return extent * stride if padding == "same" else extent * stride + max(window - stride, 0)


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """Returns the shape of tensors of equal rank that are added or multiplied.

    Raises:
      ValueError: the shapes do not fit together.
    """
    same_rank = len({len(shape) for shape in shapes}) == 1
    axes = list(zip(*shapes, strict=True)) if same_rank else []
    result = tuple(max(extents) for extents in axes)
    if not same_rank or any(set(extents) - {1, max(extents)} for extents in axes):
        raise ValueError(f"the shapes {', '.join(map(str, shapes))} do not fit together")
    return result
