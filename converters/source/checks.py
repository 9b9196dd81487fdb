"""Says what keeps a model from being converted, before time is spent; and makes it plain."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from common.cli import UserError
from keras_shufflenet.keras_internals import call_nodes, flat_layers, functional
from trainers.networks.classifiers import check_names, check_precision


def check_model(model: Any) -> None:
    """Raises UserError, with the layer's name, unless files can be made of a model."""
    name = getattr(model, "name", type(model).__name__)
    if not isinstance(model, keras.Model):
        raise UserError(
            f"{name!r} is a {type(model).__module__}.{type(model).__name__}, not a Keras 3 model; "
            "build it with the package keras"
        )
    if isinstance(model, keras.Sequential) and not model.built:
        raise UserError(f"model {name!r} has no input shape yet; begin it with keras.Input(shape)")
    if functional(model) is None:
        raise UserError(
            f"model {name!r} is of the class {type(model).__name__}, so its layers are hidden in "
            "its code; build it as a functional model (keras.Model(inputs, outputs))"
        )
    check_names(model, f"model {name!r}")
    check_precision(model, name)
    for layer in flat_layers(model):
        _check_layer(layer, name)


def _check_layer(layer: Any, model: str) -> None:
    named = f"layer {layer.name!r} of model {model!r}"
    if isinstance(layer, keras.layers.Lambda):
        raise UserError(
            f"{named} is a Lambda, whose code no file holds; use a layer of Keras or keras.ops"
        )
    if getattr(layer, "stateful", False):
        raise UserError(
            f"{named} is stateful, but a file keeps nothing from one call to the next; build it "
            "with stateful=False and pass its state as an input"
        )
    if isinstance(layer, keras.Model):
        return  # Its layers follow.
    for variable in layer.weights:
        values = keras.ops.convert_to_numpy(variable)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise UserError(
                f"weight {variable.path!r} of {named} has NaN or infinite values; train it again"
            )


def plain(
    model: keras.Model, outputs: Sequence[str] | None = None, size: int | None = None
) -> tuple[keras.Model, list[str]]:
    """Returns a model of fixed size with a tensor or a list of tensors at each end.

    Args:
      model: functional or Sequential.
      outputs: names of the outputs to keep, in their order; None: all.
      size: height and width in pixels, if the model does not fix them.

    Returns:
      The model, with the same layers and weights, and the names of its outputs.

    Raises:
      UserError: an output is unknown, an input is not used, or the size is not known.
    """
    names = _output_names(model)
    chosen = list(outputs) if outputs is not None else names
    for name in chosen:
        if name not in names:
            raise UserError(
                f"model {model.name!r} has no output {name!r}; its outputs are {', '.join(names)}"
            )
    if not chosen or len(set(chosen)) < len(chosen):
        raise UserError(f"outputs must be different names of {', '.join(names)}, not {chosen}")
    inputs = [_sized(model, tensor, size) for tensor in model.inputs]
    found = dict(zip(names, model.outputs, strict=True))
    if any(new is not old for new, old in zip(inputs, model.inputs, strict=True)):
        called = functional(model)(inputs if len(inputs) > 1 else inputs[0])
        found = dict(zip(names, keras.tree.flatten(called), strict=True))
    elif chosen == names and not _is_mapping(model):
        _check_used(model)
        return model, names
    tensors = [found[name] for name in chosen]
    result = keras.Model(*map(_one_or_all, (inputs, tensors)), name=model.name)
    _check_used(result)
    return result, chosen


def _is_mapping(model: keras.Model) -> bool:
    inner = functional(model)
    return isinstance(inner.input, Mapping) or isinstance(inner.output, Mapping)


def _one_or_all(tensors: list) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors


def _output_names(model: keras.Model) -> list[str]:
    inner = functional(model)
    if isinstance(inner.output, Mapping):
        return sorted(inner.output)  # As Keras flattens it.
    names = list(inner.output_names)
    # A layer that gives several outputs gives them one name.
    return [
        name if names.count(name) == 1 else f"{name}_{names[:index].count(name)}"
        for index, name in enumerate(names)
    ]


def _sized(model: keras.Model, tensor: Any, size: int | None) -> Any:
    shape = tuple(tensor.shape[1:])
    if None not in shape:
        return tensor
    # Height and width alone can be open, not a number of channels or of points.
    if size is None or len(shape) != 3 or shape[-1] is None:
        raise UserError(
            f"input {tensor.name!r} of model {model.name!r} has the shape {tuple(tensor.shape)}, "
            "but a file needs a fixed one; give height and width with --input_size (size=), or "
            "build the model with a fixed shape"
        )
    shape = (*(size if extent is None else extent for extent in shape[:2]), shape[-1])
    return keras.Input(shape, name=tensor.name, dtype=tensor.dtype)


def _check_used(model: keras.Model) -> None:
    used = {id(tensor) for node in call_nodes(functional(model)) for tensor in node.inputs}
    for tensor in model.inputs:
        if id(tensor) not in used:
            raise UserError(
                f"input {tensor.name!r} of model {model.name!r} is not used by its outputs; leave "
                "it out, or convert the outputs that need it"
            )
