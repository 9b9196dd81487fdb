"""The inputs and outputs of a .tflite file: their names, and the model's order.

TFLiteConverter sorts several of them by names of its own; the file's signature alone says which is
which. Here they get the model's order back, because most runtimes count them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from common.tflite.flatbuffer import pack, unpack


@dataclass(frozen=True)
class Ends:
    """The names of a model's inputs and outputs, in the model's order.

    Attributes:
      inputs, outputs: as in the model; a single one's name does not matter.
    """

    inputs: tuple[str, ...] = ("image",)
    outputs: tuple[str, ...] = ("output",)

    @property
    def several(self) -> bool:
        """Whether there are several inputs or several outputs."""
        return len(self.inputs) > 1 or len(self.outputs) > 1


def traceable(
    model: Any, ends: Ends, batch: int = 1
) -> tuple[tf.types.experimental.GenericFunction, list]:
    """Returns a function that calls a model, and the signature to trace it with.

    Args:
      model: a Keras or tf_keras model.
      ends: its inputs and outputs.
      batch: examples in a call.
    """
    if not ends.several:
        signature = tf.TensorSpec((batch, *model.input_shape[1:]), tf.float32, name="image")
        return tf.function(lambda image: model(image, training=False), autograph=False), [signature]
    names = _identifiers(ends.outputs)

    def call(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        found = model(tensors[0] if len(tensors) == 1 else list(tensors), training=False)
        return dict(zip(names, found if isinstance(found, list | tuple) else [found], strict=True))

    signature = [
        tf.TensorSpec((batch, *tensor.shape[1:]), tf.float32, name=name)
        for tensor, name in zip(model.inputs, _identifiers(ends.inputs), strict=True)
    ]
    return tf.function(call, autograph=False), signature


def in_order(content: bytes, ends: Ends) -> bytes:
    """Returns a .tflite file whose inputs and outputs are in the model's order.

    Args:
      content: as TFLiteConverter writes it for a function of `traceable`.
      ends: the model's inputs and outputs.
    """
    if not ends.several:
        return content
    model = unpack(content)
    graph, (signature,) = model.subgraphs[0], model.signatureDefs
    for end, entries, names in (
        ("inputs", signature.inputs, ends.inputs),
        ("outputs", signature.outputs, ends.outputs),
    ):
        places = {entry.name.decode(): entry.tensorIndex for entry in entries}
        order = [places[name] for name in _identifiers(names)]
        setattr(graph, end, np.array(order, np.int32))
    return pack(model)


def examples(
    images: np.ndarray | Sequence[np.ndarray], ends: Ends, batch: int = 1
) -> Iterator[list[np.ndarray] | dict[str, np.ndarray]]:
    """Yields calibration examples in batches, as TFLiteConverter takes them; pads the last batch.

    Args:
      images: [n, ...]; with several inputs, an array for each.
      ends: the model's inputs and outputs.
      batch: the number of examples.
    """
    arrays = [images] if isinstance(images, np.ndarray) else images
    names = _identifiers(ends.inputs)
    for start in range(0, len(arrays[0]), batch):
        parts = [np.take(x, range(start, start + batch), axis=0, mode="wrap") for x in arrays]
        # By name, because the converter sorts the inputs.
        yield dict(zip(names, parts, strict=True)) if len(parts) > 1 else parts


def _identifiers(names: Sequence[str]) -> list[str]:
    """Returns names that a signature can have, all different."""
    found = [re.sub(r"\W", "_", name) for name in names]
    return [
        name if found.count(name) == 1 else f"{name}_{index}" for index, name in enumerate(found)
    ]
