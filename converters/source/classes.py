"""Whether a model is a classifier, and the names of its classes."""

from collections.abc import Sequence

import keras
import tf_keras

from common.cli import UserError
from trainers.data.class_names import check_lines

_MOST_NAMED = 5


def classes_of(model: keras.Model | tf_keras.Model) -> int:
    """Returns the number of classes that the model may have, or 0 if it is no classifier."""
    shapes = [tuple(tensor.shape) for tensor in model.outputs]
    return shapes[0][1] if len(shapes) == 1 and len(shapes[0]) == 2 and shapes[0][1] > 1 else 0


def checked_names(names: Sequence[str] | None, classes: int, output: str) -> Sequence[str]:
    """Returns the class names of an output, numbers if there are none; raises UserError."""
    if names is None:
        return [str(index) for index in range(classes)]
    if len(names) != classes or len(set(names)) != classes:
        some = ", ".join([*names[:_MOST_NAMED], *(["…"] if len(names) > _MOST_NAMED else [])])
        raise UserError(
            f"{len(set(names))} class names are given ({some}), but output {output!r} has "
            f"{classes} classes; give a different name for each, in the output's order (--labels)"
        )
    check_lines(names, f"output {output!r}")
    return names


def no_classifier(model: keras.Model | tf_keras.Model, names: Sequence[str]) -> UserError:
    """Returns the error of labels or class names for a model that is no classifier."""
    pairs = zip(names, model.outputs, strict=True)
    shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in pairs)
    return UserError(
        f"labels and class names are for one output [batch, classes], but {model.name!r} gives "
        f"{shapes}; leave them out, or choose one with outputs="
    )
