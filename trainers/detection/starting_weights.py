"""Weights that a detector's training starts from: a detector's, or those of a backbone."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from common.cli import UserError
from keras_shufflenet import detector_strides
from keras_shufflenet.detector import SIDES
from trainers.config import TrainConfig
from trainers.data.class_names import known_labels
from trainers.networks.models import load_model
from trainers.networks.starting_weights import (
    assign_weights,
    check_settings,
    load_starting_weights,
)

_PREDICTIONS = ("predictions/kernel", "predictions/bias")


def load_detector_weights(
    model: keras.Model, backbone: keras.Model, config: TrainConfig, class_names: Sequence[str]
) -> None:
    """Sets the weights of a detector to those that `config.network.weights` names.

    These are a workdir or a `.keras` file of a detector, of which all are used: a class that it
    knows by name is found as before, another one has to be learnt. From all else that
    `load_starting_weights` reads, classifiers and checkpoints, come the backbone's.

    Args:
      model: the detector.
      backbone: the network whose layers it has.
      config: of the training.
      class_names: of the data.

    Raises:
      UserError: as in `load_starting_weights`, or a detector has weights that this one lacks.
    """
    network, images = config.network, config.images
    source = _detector(network.weights)
    if source is None:
        load_starting_weights(backbone, network, images, class_names, only_features=True)
        print(f"--weights {network.weights}: the backbone's; neck and head start from random ones")
        return
    check_settings(source, model, network, images)
    _check_all_used(source, model, network.weights)
    assign_weights(model, source, network.weights, except_for=_PREDICTIONS)
    known = known_labels(network.weights) or ()
    for path in _PREDICTIONS:
        _assign_by_class(_weight(model, path), _weight(source, path), class_names, known)
    if new := [name for name in class_names if name not in known]:
        print(f"--weights {network.weights}: these classes are new: {', '.join(new)}")


def _detector(weights: str) -> keras.Model | None:
    """Returns the detector of a workdir or a `.keras` file; None for other weights."""
    path = Path(weights)
    if not path.is_dir() and path.suffix != ".keras":
        return None
    model = load_model(path / "model.keras" if path.is_dir() else path)
    try:
        detector_strides(model)
    except ValueError:
        return None
    return model


def _check_all_used(source: keras.Model, model: keras.Model, name: str) -> None:
    """Raises UserError if the source has a neck or levels that `model` does not have."""
    paths = {weight.path for weight in model.weights}
    lost = [weight.path for weight in source.weights if weight.path not in paths]
    if lost:
        raise UserError(
            f"--weights {name} is another detector: it has {len(lost)} weights more, such as "
            f"{lost[0]}; use the --neck and --strides that it was trained with"
        )


def _weight(model: keras.Model, path: str) -> keras.Variable:
    return next(weight for weight in model.weights if weight.path == path)


def _assign_by_class(
    weight: keras.Variable, source: keras.Variable, names: Sequence[str], known: Sequence[str]
) -> None:
    """Takes over the sides' outputs, and those of the classes that the source knows."""
    values, theirs = weight.numpy(), source.numpy()
    places = [*range(SIDES)]
    origins = [*range(SIDES)]
    for place, name in enumerate(names):
        if name in known:
            places.append(SIDES + place)
            origins.append(SIDES + list(known).index(name))
    values[..., np.array(places)] = theirs[..., np.array(origins)]
    weight.assign(values)
