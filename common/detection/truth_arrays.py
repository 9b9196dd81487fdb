"""The boxes of many images as arrays of one shape each: what samples.npz holds of them."""

from collections.abc import Mapping, Sequence

import numpy as np

from common.detection.average_precision import Truth

BOXES, CLASSES, IGNORED = ARRAYS = ("boxes", "classes", "ignored")
DTYPES = {BOXES: "float32", CLASSES: "int32", IGNORED: "uint8"}
# Of `classes`, where an image has fewer boxes than another.
PADDING = -1
# Of `ignored`.
_COUNTS, _DIFFICULT, _CROWD = range(3)


def pack(truths: Sequence[Truth]) -> dict[str, np.ndarray]:
    """Returns the boxes of images as arrays.

    Returns:
      `boxes` float32 [n, most, 4]; `classes` int32 [n, most], -1 where there is no box; `ignored`
      uint8 [n, most]: 0, or 1 for a box that need not be found, or 2 for a crowd. `most` is at
      least 1.

    Examples:
      >>> pack([Truth(np.zeros((0, 4)), np.zeros(0, int))])["classes"]
      array([[-1]], dtype=int32)
    """
    most = max([1, *(len(truth.classes) for truth in truths)])
    boxes = np.zeros((len(truths), most, 4), np.float32)
    classes = np.full((len(truths), most), PADDING, np.int32)
    ignored = np.zeros((len(truths), most), np.uint8)
    for index, truth in enumerate(truths):
        count = len(truth.classes)
        boxes[index, :count], classes[index, :count] = truth.boxes, truth.classes
        for flags, kind in ((truth.ignored, _DIFFICULT), (truth.crowds, _CROWD)):
            if flags is not None:
                ignored[index, :count][flags] = kind
    return {BOXES: boxes, CLASSES: classes, IGNORED: ignored}


def unpack(arrays: Mapping[str, np.ndarray], classes: int) -> list[Truth]:
    """Returns the boxes of each image; the inverse of `pack`.

    Args:
      arrays: of `pack`, of these shapes and types; the values are not trusted.
      classes: number of classes.

    Raises:
      ValueError: a class does not exist, or a corner is no number; the message says which.
    """
    if arrays[CLASSES].min() < PADDING or arrays[CLASSES].max() >= classes:
        raise ValueError("boxes of classes that do not exist")
    if not np.isfinite(arrays[BOXES]).all():
        raise ValueError("boxes with corners that are no numbers")
    if arrays[IGNORED].max() > _CROWD:
        raise ValueError("boxes of an unknown kind")
    found = []
    for boxes, labels, kinds in zip(*(arrays[name] for name in ARRAYS), strict=True):
        real = labels != PADDING
        kinds = kinds[real]
        found.append(Truth(boxes[real], labels[real], kinds == _CROWD, kinds == _DIFFICULT))
    return found


def array_shapes(arrays: Mapping[str, dict]) -> dict[str, list[int]]:
    """Returns the shapes of one image's boxes that a manifest's entries of arrays must have.

    Args:
      arrays: the manifest's `samples.arrays`; not trusted.
    """
    entry = arrays.get(CLASSES)
    shape = entry.get("shape") if isinstance(entry, dict) else None
    most = shape[:1] if isinstance(shape, list) and shape else [1]
    return {BOXES: [*most, 4], CLASSES: most, IGNORED: most}
