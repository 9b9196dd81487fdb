"""Examples from arrays, `tf.data` and .npz files, compared with what the model takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from common.cli import UserError
from common.storage.arrays import load_arrays
from converters.options import MIN_CALIBRATION_IMAGES
from converters.source.network import Input, Samples

_LABELS = "labels"


def read_examples(
    images: Any, labels: Any, inputs: Sequence[Input], classes: int, limit: int
) -> Samples:
    """Returns examples from what a user gives.

    Args:
      images: an array [n, ...], a list or dict of arrays for several inputs, or a
        `tf.data.Dataset` of these, with or without labels beside them, batched or not.
      labels: classes [n], or shares of classes [n, classes]; None: not known, or in the data set.
      inputs: of the model.
      classes: the number of values in the model's only output; 0 if it has no classes.
      limit: the number of examples that are read of a data set at most.

    Raises:
      UserError: they do not fit the model, or each other; the message names them.
    """
    if isinstance(images, tf.data.Dataset):
        images, found = _of_dataset(images, inputs, limit)
        # A training's data set may have targets of several outputs: there are no classes in them.
        labels = found if labels is None and classes else labels
    arrays = _ordered(images, inputs)
    counts = [len(array) for array in arrays]
    if not any(counts):
        raise UserError("images has no examples; give some")
    if len(set(counts)) > 1:
        named = ", ".join(f"{each.name} {n}" for each, n in zip(inputs, counts, strict=True))
        raise UserError(f"images need the same number of examples for every input, not {named}")
    return Samples(arrays, None if labels is None else _classes(labels, counts[0], classes))


def read_npz(path: Path, inputs: Sequence[Input]) -> tuple[Any, np.ndarray | None]:
    """Returns the examples and the labels (None if there are none) of an .npz file.

    Args:
      path: the file; its arrays have the names of the inputs, or any name if there is one input;
        `labels` has the correct classes.
      inputs: of the model.

    Raises:
      UserError: the file is missing or damaged, or lacks an input.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist or is not a file; check --inputs")
    arrays = load_arrays(path, "write it with numpy.savez")
    labels = arrays.pop(_LABELS, None)
    if len(inputs) == 1 and len(arrays) == 1:
        return next(iter(arrays.values())), labels
    missing = [each.name for each in inputs if each.name not in arrays]
    if missing:
        raise UserError(
            f"{path} lacks an array {missing[0]!r} for that input of the model; it has "
            f"{', '.join(sorted(arrays)) or 'none'}"
        )
    return {each.name: arrays[each.name] for each in inputs}, labels


def _of_dataset(
    dataset: tf.data.Dataset, inputs: Sequence[Input], limit: int
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    batches: list[tuple[list[np.ndarray], np.ndarray | None]] = []
    count = 0
    for element in dataset:
        images, label = element if isinstance(element, tuple) else (element, None)
        arrays = [np.asarray(each) for each in _listed(images, inputs)]
        label = np.asarray(label) if isinstance(label, tf.Tensor) else None
        if arrays[0].ndim == len(inputs[0].shape):  # Not batched.
            arrays, label = [x[None] for x in arrays], None if label is None else label[None]
        batches.append((arrays, label))
        count += len(arrays[0])
        if count >= limit:
            break
    if not batches:
        raise UserError("images is a data set without elements; give it some examples")
    columns = zip(*(arrays for arrays, _ in batches), strict=True)
    joined = [np.concatenate(column)[:limit] for column in columns]
    labels = None
    if batches[0][1] is not None:
        labels = np.concatenate([label for _, label in batches])[:limit]
    return dict(zip((each.name for each in inputs), joined, strict=True)), labels


def _ordered(images: Any, inputs: Sequence[Input]) -> tuple[np.ndarray, ...]:
    found = []
    for each, array in zip(inputs, _listed(images, inputs), strict=True):
        array = np.asarray(array)
        if array.shape[1:] != each.shape:
            raise UserError(
                f"input {each.name!r} takes examples of shape {each.shape}, but the images have "
                f"the shape {array.shape}; give an array (n, {', '.join(map(str, each.shape))})"
            )
        if array.dtype != np.uint8:
            if array.dtype.kind not in "fiub":
                raise UserError(f"input {each.name!r} takes numbers, not {array.dtype}")
            array = array.astype(np.float32)
            if not np.isfinite(array).all():
                raise UserError(f"the images of input {each.name!r} have NaN or infinite values")
        found.append(array)
    return tuple(found)


def _listed(images: Any, inputs: Sequence[Input]) -> list[Any]:
    """Returns what is given for each input, in the model's order."""
    names = [each.name for each in inputs]
    if isinstance(images, Mapping):
        if images.keys() != set(names):
            wrong = sorted(images.keys() ^ set(names))[0]
            what = "is no input of the model" if wrong in images else "is missing"
            raise UserError(f"input {wrong!r} {what} in images; the model takes {', '.join(names)}")
        return [images[name] for name in names]
    if isinstance(images, list | tuple) and len(names) > 1:
        if len(images) != len(names):
            raise UserError(
                f"images has {len(images)} arrays, but the model takes {', '.join(names)}"
            )
        return list(images)
    if len(names) > 1:
        raise UserError(f"images must be a list or dict of arrays for {', '.join(names)}")
    return [images]


def _classes(labels: Any, count: int, classes: int) -> np.ndarray:
    """Returns labels as int32 [n], checked."""
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and labels.shape[1] == classes:
        if labels.min() < 0 or not np.allclose(labels.sum(axis=-1), 1):
            raise UserError(
                "labels are no classes and no shares of classes, each row of sum 1; leave them out "
                "(dataset.map(lambda image, target: image)), or give whole numbers"
            )
        labels = labels.argmax(axis=-1)
    if labels.ndim != 1 or len(labels) != count:
        raise UserError(
            f"labels have the shape {labels.shape} for {count} images; give one class for each"
        )
    if labels.dtype.kind not in "iu" and not np.array_equal(labels, np.rint(labels)):
        raise UserError("labels must be whole numbers, the classes counted from 0")
    if labels.min() < 0 or labels.max() >= classes:
        wrong = labels.max() if labels.max() >= classes else labels.min()
        raise UserError(
            f"labels have a class {wrong}, but the model has classes 0 to {classes - 1}"
        )
    return labels.astype(np.int32)


def divided(samples: Samples) -> tuple[Samples, Samples]:
    """Returns examples for calibration and others for the check, each in a random order.

    Half of them, but at least `MIN_CALIBRATION_IMAGES`, are for calibration; if that leaves none,
    all are for both.
    """
    order = np.random.default_rng(0).permutation(len(samples))
    count = max(len(order) // 2, MIN_CALIBRATION_IMAGES)
    rest = order[count:] if count < len(order) else order
    return samples.chosen(order[:count]), samples.chosen(rest)
