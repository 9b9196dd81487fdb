"""A classifier in a `.keras` file, as the start of a training on photographs in class folders."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from common.cli import UserError
from common.storage.readers import read_lines
from converters.source.checks import check_model, plain
from converters.source.classes import checked_names, classes_of
from converters.source.flags import ModelFlags
from converters.source.network import Network
from converters.source.opening import crop_share_of, file_beside
from converters.source.pixels import pixel_mode
from keras_shufflenet.keras_internals import producer
from trainers.config import TrainConfig
from trainers.data.class_names import LABELS_FILE, difference, read_labels
from trainers.networks.classifiers import without_softmax
from trainers.networks.models import load_model

_IN_PYTHON = "train it in Python with converters.quantization_aware, which takes every network"
# As `trainers.settings.ImageConfig` has it.
_SMALLEST = 32
# Operations of `keras.ops` that end a network with no logits.
_OPERATIONS = ("Sigmoid", "Tanh", "Relu", "LogSoftmax", "HardSigmoid")


@dataclass(frozen=True)
class ClassifierFile:
    """A classifier of square photographs.

    Attributes:
      model: returns logits; of fixed size.
      preprocessing: how a pixel becomes its input, a mode of `preprocess_input`.
      crop_share: the share of a photograph's shorter side that the central square has.
      labels: class names in the order of the logits; None: not known.
    """

    model: keras.Model
    preprocessing: str
    crop_share: float
    labels: tuple[str, ...] | None

    @property
    def settings(self) -> dict[str, Any]:
        """What a training's settings (`TrainConfig`) say of the network's input."""
        size, _, channels = self.model.input_shape[1:]
        return {
            "input_size": size,
            "channels": channels,
            "preprocessing": self.preprocessing,
            "crop_share": self.crop_share,
        }


def open_classifier(path: Path, given: ModelFlags) -> ClassifierFile:
    """Returns the classifier of a `.keras` file.

    Args:
      path: the file.
      given: what the command is told of it.

    Raises:
      UserError: it is no classifier of square photographs with one output of logits or softmax, or
        nothing says how pixels become its input.

    Examples:
      >>> open_classifier(Path("net.keras"), ModelFlags()).preprocessing
      'raw'
    """
    model = load_model(path)
    check_model(model)
    model, names = plain(model, size=given.input_size)
    _check_ends(model, names, path)
    logits = without_softmax(model)
    if (activation := _last_activation(logits)) is not None:
        raise UserError(
            f"{path} ends with {activation}, but shufflenet quantize trains logits or a softmax; "
            f"{_IN_PYTHON}"
        )
    names_file = given.labels or file_beside(path, LABELS_FILE)
    labels = None
    if names_file is not None:
        found = read_lines(names_file, "name another file")
        labels = tuple(checked_names(found, classes_of(logits), names[0]))
    pixels = np.empty(0, np.uint8)
    mode = pixel_mode(logits, logits.inputs[0], pixels, given.preprocessing)
    return ClassifierFile(logits, mode, crop_share_of(path, given), labels)


def _check_ends(model: keras.Model, names: list[str], path: Path) -> None:
    if len(model.inputs) > 1 or not classes_of(model):
        taken = ", ".join(tensor.name for tensor in model.inputs)
        pairs = zip(names, model.outputs, strict=True)
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in pairs)
        raise UserError(
            f"{path} takes {taken} and gives {shapes}; shufflenet quantize trains classifiers, "
            f"with one image and one output [batch, classes]: {_IN_PYTHON}"
        )
    shape = model.input_shape[1:]
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] not in (1, 3):
        raise UserError(
            f"{path} takes the shape {shape}, but photographs become squares of 1 or 3 channels; "
            f"{_IN_PYTHON}"
        )
    if shape[0] < _SMALLEST:
        raise UserError(
            f"{path} takes images of {shape[0]} pixels, but shufflenet quantize reads photographs "
            f"of {_SMALLEST} or more; {_IN_PYTHON}"
        )


def _last_activation(model: keras.Model) -> str | None:
    """Returns the name of the activation that a model ends with; None if there is none."""
    last, _ = producer(model.outputs[0])
    if isinstance(last, keras.Model):
        return _last_activation(last)
    activation = getattr(last, "activation", None)
    if activation not in (None, keras.activations.linear):
        return getattr(activation, "__name__", type(activation).__name__)
    kind = type(last).__name__
    return kind if kind in _OPERATIONS else None


def check_same_classifier(network: Network, folder: Path) -> None:
    """Raises UserError unless a file is opened as its quantization-aware training opened it.

    Args:
      network: of the same `.keras` file.
      folder: of the training.
    """
    trained, labels = TrainConfig.load(folder).images, read_labels(folder)
    (taken,) = network.inputs
    if network.labels != labels:
        raise UserError(
            f"{folder} was trained with other classes: {difference(network.labels, labels)}; name "
            f"them with --labels={folder / LABELS_FILE}"
        )
    if taken.shape[0] != trained.input_size or taken.mode != trained.preprocessing:
        raise UserError(
            f"{folder} was trained with --input_size={trained.input_size} "
            f"--preprocessing={trained.preprocessing}, not with {taken.shape[0]} and "
            f"{taken.mode}; give the same, or train again"
        )
