"""A classifier from a workdir, a `.keras` file or an artifact: from images to probabilities."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from common.artifact import Artifact
from common.cli import UserError
from common.tflite.isolated import IsolatedModel
from common.tflite.operators import ends_with_softmax
from keras_shufflenet import preprocess_input
from trainers.config import TrainConfig
from trainers.data.class_names import read_labels
from trainers.evaluation import logits_of
from trainers.networks import models
from trainers.networks.classifiers import check_classifier, check_shapes, without_softmax
from trainers.settings import ImageConfig


@dataclass(frozen=True)
class Network:
    """A network of a file, of any format.

    Attributes:
      path: the file.
      input_shape, output_shape: including the batch, as the file gives them.
      outputs: from float32 [n, height, width, channels], normalized, to float32 [n, classes].
      gives_probabilities: the outputs are those of a softmax, not logits.
    """

    path: Path
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]
    outputs: Callable[[np.ndarray], np.ndarray]
    gives_probabilities: bool

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Returns logits, float32 [n, classes]; of probabilities, their logarithms."""
        outputs = self.outputs(inputs)
        return logits_of(outputs) if self.gives_probabilities else outputs

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """Returns float32 [n, classes]; the sum of a row is 1."""
        outputs = self.outputs(inputs)
        return outputs if self.gives_probabilities else softmax(outputs)


@dataclass(frozen=True)
class Classifier:
    """A network, its class names, and how an image becomes its input.

    Attributes:
      network: the file.
      labels: class names, in the order of the outputs.
      resize_size, input_size, channels: as in `trainers.data.images.crops.center_crop`.
      normalize: from uint8 images to the network's input.
    """

    network: Network
    labels: Sequence[str]
    resize_size: int
    input_size: int
    channels: int
    normalize: Callable[[np.ndarray], np.ndarray]

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Does the same as `Network.logits` for uint8 images."""
        return self.network.logits(self.normalize(images))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Returns float32 [n, classes] for uint8 images [n, input_size, input_size, channels]."""
        return self.network.probabilities(self.normalize(images))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the probabilities of logits [n, classes], float32."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float32)
    return powers / powers.sum(axis=-1, keepdims=True)


def open_classifier(model: Path, workdir: Path | None, file: str | None = None) -> Classifier:
    """Opens a workdir, a `.keras` file or an artifact.

    Args:
      model: its path, or that of a `.tflite` file in an artifact.
      workdir: of the training that the model comes from; None: it is an artifact.
      file: name of an artifact's `.tflite` file; None: its best for a device.

    Raises:
      UserError: something is missing, damaged or does not match; the message names it.

    Examples:
      >>> open_classifier(Path("artifact"), None).labels
      ['cat', 'dog']
    """
    if workdir is None and model.suffix == ".tflite":
        model, file = model.parent, model.name
    if workdir is None:
        return _of_artifact(Artifact.open(model), file)
    path = model / "model.keras" if model.is_dir() else model
    images = TrainConfig.load(workdir).images
    labels = read_labels(workdir)
    network = load_network(path, images, len(labels))
    return Classifier(
        network=network,
        labels=list(labels),
        resize_size=images.resize_size,
        input_size=images.input_size,
        channels=network.input_shape[-1],
        normalize=lambda x: preprocess_input(x, mode=images.preprocessing),
    )


def load_network(path: Path, images: ImageConfig, classes: int) -> Network:
    """Loads a classifier from a `.keras` or a `.tflite` file.

    Args:
      path: the file.
      images: how the training prepared its images.
      classes: number of its classes.

    Raises:
      UserError: there is no such file, it is damaged, or is not for such images and classes.
    """
    if path.suffix == ".tflite":
        network = _litert_network(IsolatedModel(path))
        check_shapes(network.input_shape, network.output_shape, images, classes, path)
        return network
    if path.suffix != ".keras":
        raise UserError(f"{path} is not a model; name a workdir, a .keras or a .tflite file")
    model = models.load_model(path)
    check_classifier(model, images, classes, path)
    models.check_preprocessing(model, images.preprocessing, path)
    model = without_softmax(model)

    @tf.function(autograph=False, reduce_retracing=True)
    def run(inputs: tf.Tensor) -> tf.Tensor:
        return tf.cast(model(inputs, training=False), tf.float32)

    return Network(
        path=path,
        input_shape=model.input_shape,
        output_shape=model.output_shape,
        outputs=lambda inputs: run(tf.constant(inputs, tf.float32)).numpy(),
        gives_probabilities=False,
    )


def _of_artifact(artifact: Artifact, file: str | None) -> Classifier:
    artifact.check_classifier()
    _, height, width, channels = artifact.input_shape
    if height != width:
        raise UserError(f"{artifact.folder} is for images of {width}x{height} pixels, not squares")
    return Classifier(
        network=_litert_network(artifact.load_isolated(file or artifact.default_file())),
        labels=list(artifact.labels),
        resize_size=artifact.resize_size,
        input_size=height,
        channels=channels,
        normalize=artifact.preprocess,
    )


def _litert_network(model: IsolatedModel) -> Network:
    # In a process of its own: nobody knows where the file comes from, and some crash LiteRT.
    return Network(
        path=model.path,
        input_shape=model.input_shape,
        output_shape=model.output_shape,
        outputs=model.predict,
        gives_probabilities=ends_with_softmax(model.path),
    )
