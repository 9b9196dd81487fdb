"""Knowledge distillation: the network also learns from the logits of a teacher."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from common.cli import UserError
from keras_shufflenet.preprocessing import PREPROCESSING, preprocessing_of
from trainers.config import CONFIG_FILE, TrainConfig
from trainers.data.class_names import check_same, known_labels
from trainers.networks.classifiers import without_softmax
from trainers.networks.models import load_model


def distillation_losses(teacher: tf.Tensor, student: tf.Tensor, temperature: float) -> tf.Tensor:
    """Returns how far the student's softened probabilities are from the teacher's.

    Hinton et al., 2015: the Kullback-Leibler divergence, multiplied by the squared temperature so
    that the gradients keep their size.

    Args:
      teacher, student: float32 logits [batch, classes].
      temperature: divides the logits.

    Returns:
      float32 [batch].
    """
    target = tf.nn.log_softmax(teacher / temperature)
    guess = tf.nn.log_softmax(student / temperature)
    return temperature**2 * tf.reduce_sum(tf.exp(target) * (target - guess), axis=-1)


@dataclasses.dataclass(frozen=True)
class Distillation:
    """A teacher and its share in the loss.

    Args:
      teacher: returns its output, such as logits [batch, classes], for the student's normalized
        images.
      temperature: divides the logits of both.
      share: the teacher's share in the loss, in (0, 1].
      losses: of the teacher's output, the student's and the temperature, as `distillation_losses`.
    """

    teacher: Callable[[tf.Tensor], tf.Tensor]
    temperature: float
    share: float
    losses: Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor] = distillation_losses

    def mix(self, losses: tf.Tensor, images: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """Returns the student's losses, float32 [batch], mixed with the distillation losses."""
        taught = tf.stop_gradient(self.teacher(images))
        soft = self.losses(taught, output, self.temperature)
        return (1 - self.share) * losses + self.share * soft


def load_distillation(
    config: TrainConfig, channels: int, class_names: Sequence[str]
) -> Distillation:
    """Loads the teacher that --distill names.

    The teacher is a workdir or a `.keras` file of any classifier. If it says which preprocessing it
    needs (`preprocessing_of`, or the workdir's config), its pixels are normalized in this way;
    otherwise in the student's way. Images are scaled to its input size. A softmax at its end is
    removed. If a labels.txt is beside its file, its classes must be the data's.

    Args:
      config: distill, temperature, distill_weight, preprocessing and the data's name matter.
      channels, class_names: of the data.

    Raises:
      UserError: the teacher cannot be loaded, or is for other images or classes.
    """
    classes = len(class_names)
    optimization, mine = config.optimization, config.images.preprocessing
    path, theirs = Path(optimization.distill), mine
    if (path / CONFIG_FILE).exists():
        theirs = TrainConfig.load(path).images.preprocessing
    if labels := known_labels(path):
        check_same(class_names, labels, config.data, path)
    model = without_softmax(load_model(path / "model.keras" if path.is_dir() else path))
    model.trainable = False
    if len(model.input_shape) != 4 or model.input_shape[-1] != channels:
        raise UserError(
            f"teacher {path} expects {model.input_shape}, but the images have {channels} channels; "
            "name another --distill"
        )
    if model.output_shape[-1] != classes:
        raise UserError(
            f"teacher {path} has {model.output_shape[-1]} classes, but {config.data.dataset} has "
            f"{classes}; name another --distill"
        )
    teacher = _adapted(model, mine, preprocessing_of(model) or theirs)
    return Distillation(teacher, optimization.temperature, optimization.distill_weight)


def _adapted(model: keras.Model, given: str, wanted: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that maps images in one preprocessing to logits of a model for another."""
    size = model.input_shape[1:3]
    scale, offset = _between(PREPROCESSING[given], PREPROCESSING[wanted])

    def teach(images: tf.Tensor) -> tf.Tensor:
        if None not in size and tuple(images.shape[1:3]) != size:
            images = tf.image.resize(images, size, antialias=True)
        if given != wanted:
            images = images * scale + offset
        return tf.cast(model(images, training=False), tf.float32)

    return teach


def _between(given, wanted) -> tuple[np.ndarray, np.ndarray]:
    """Returns scale and offset from one normalization to the other."""
    old, new = (tuple(map(np.float32, (p.scale, p.offset))) for p in (given, wanted))
    scale = new[0] / old[0]
    return scale, new[1] - old[1] * scale
