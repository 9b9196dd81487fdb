"""What is converted: a Keras model with everything that a conversion needs to know of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tf_keras

from common.detection.average_precision import Truth
from common.detection.decoding import Decoding
from common.manifest import CLASSIFICATION
from converters.graph.operations import Graph
from keras_shufflenet.preprocessing import PREPROCESSING, preprocess_input


@dataclass(frozen=True)
class Input:
    """One input of a network.

    Attributes:
      name: as in the model.
      shape: without the batch.
      mode: how a pixel (0 to 255) becomes its value, a mode of `keras_shufflenet.preprocess_input`;
        None: it takes no pixels, or it is not known how.
      photograph: how a photograph becomes such pixels, as the manifest says it; empty: unknown.
    """

    name: str
    shape: tuple[int, ...]
    mode: str | None = None
    photograph: Mapping[str, Any] = field(default_factory=dict)

    def values(self, samples: np.ndarray) -> np.ndarray:
        """Returns samples, uint8 pixels or values [n, ...], as the network takes them, float32."""
        if self.mode is None or samples.dtype != np.uint8:
            return np.asarray(samples, np.float32)
        return preprocess_input(samples, mode=self.mode)

    def pixels(self, sample: np.ndarray) -> np.ndarray:
        """Returns one sample as uint8 pixels, the inverse of `values`."""
        if self.mode is None or sample.dtype == np.uint8:
            return sample
        constants = PREPROCESSING[self.mode]
        pixels = (sample - np.asarray(constants.offset)) / np.asarray(constants.scale)
        return np.uint8(np.clip(np.rint(pixels), 0, 255))

    def describe(self, batch: int = 1) -> dict:
        """Returns its entry in the manifest (docs/artifact.md) for files of this batch."""
        preprocessing = None
        if self.mode is not None:
            constants = PREPROCESSING[self.mode]
            preprocessing = {
                "mode": self.mode,
                "scale": np.atleast_1d(constants.scale).tolist(),
                "offset": np.atleast_1d(constants.offset).tolist(),
            }
        entry = {"name": self.name, "shape": [batch, *self.shape], **self.photograph}
        return {**entry, "preprocessing": preprocessing}


@dataclass(frozen=True)
class Samples:
    """Examples to check files with.

    Attributes:
      arrays: for each input [n, ...]: uint8 pixels, or the input's values as they are.
      labels: the correct classes, int32 [n]; None if they are not known.
      truths: of a detector, the boxes of each example in pixels of its input.
    """

    arrays: tuple[np.ndarray, ...]
    labels: np.ndarray | None = None
    truths: tuple[Truth, ...] | None = None

    def __len__(self) -> int:
        return len(self.arrays[0])

    def first(self, count: int) -> "Samples":
        """Returns the first examples, at most `count`."""
        return self.chosen(slice(count))

    def chosen(self, which: slice | np.ndarray) -> "Samples":
        """Returns some of the examples, by their numbers."""
        labels = None if self.labels is None else self.labels[which]
        truths = self.truths
        if truths is not None:
            truths = tuple(truths[index] for index in np.arange(len(self))[which])
        return Samples(tuple(array[which] for array in self.arrays), labels, truths)


@dataclass(frozen=True)
class Network:
    """A Keras model, and the data that calibrates and checks what is made of it.

    `converters.source.opening.open_network` makes it from a workdir or a `.keras` file,
    `converters.source.from_model.network_of_model` from a model and arrays.

    Attributes:
      name: of the network.
      model: a functional model in float32, of one tensor or a list of tensors at each end; a
        classifier's output is logits.
      inputs, outputs: the inputs, and the names of the outputs, in the model's order.
      calibration: returns at most so many examples for the ranges of the activations: each input's
        values, float32 [n, ...]. Raises UserError if there are too few.
      evaluation: returns at most so many examples to check files with.
      task: "classification" (one output [batch, classes] with class names), "detection" (one output
        [batch, points, 4 + classes]), or "other".
      labels: class names in the order of the logits; empty if there are none.
      description: what the manifest says of the model: its fields `model` and `training`.
      quantized: the graph and the fake-quantized tf_keras model of a quantization-aware training,
        where that is what is converted.
      decoding: how a detector's output becomes boxes; None for other networks.
    """

    name: str
    model: keras.Model | tf_keras.Model
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    calibration: Callable[[int], tuple[np.ndarray, ...]]
    evaluation: Callable[[int], Samples]
    task: str
    labels: tuple[str, ...] = ()
    description: Mapping[str, dict] = field(default_factory=lambda: {"model": {}, "training": {}})
    quantized: tuple[Graph, tf_keras.Model] | None = None
    decoding: Decoding | None = None

    @property
    def is_image_classifier(self) -> bool:
        """Whether it is a classifier whose only input takes the pixels of an image."""
        single = len(self.inputs) == 1 and self.inputs[0].mode is not None
        return single and self.task == CLASSIFICATION

    @property
    def output_shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the outputs, without the batch."""
        return [tuple(tensor.shape[1:]) for tensor in self.model.outputs]

    def values(self, samples: Samples) -> tuple[np.ndarray, ...]:
        """Returns the values that the model takes for samples, float32, an array for each input."""
        pairs = zip(self.inputs, samples.arrays, strict=True)
        return tuple(each.values(array) for each, array in pairs)

    def predict(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the model's outputs, float32, in its order, for `values` of its inputs."""
        found = self.model.predict(values[0] if len(values) == 1 else list(values), verbose=0)
        found = found if isinstance(found, list | tuple) else [found]
        return [np.asarray(output, np.float32) for output in found]
