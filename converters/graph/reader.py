"""Reads a trained Keras 3 ShuffleNet: checks that it is ours and unedited, folds its weights."""

import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from common.cli import UserError
from converters.graph.operations import Folded
from keras_shufflenet import (
    ShuffleNetV1,
    ShuffleNetV2,
    ShuffleUnit,
    ShuffleUnitV2,
    preprocessing_of,
)

# Settings that may differ from a freshly built network: they change no value in inference.
_IRRELEVANT = {"dtype", "trainable", "synchronized", "batch_shape"}
_UNIT = re.compile(r"stage(\d+)_unit(\d+)")


def fold(layer: keras.layers.Layer, batch_norm: keras.layers.Layer) -> Folded:
    """Returns a convolution's weights with the BatchNormalization after it folded in.

    Computed in float64, so that folding adds no error beyond float32 rounding.
    """
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    gamma, beta, mean, variance = (_numpy(getattr(batch_norm, name)) for name in names)
    factor = gamma / np.sqrt(variance + batch_norm.epsilon)
    kernel = _numpy(layer.kernel)
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    kernel = kernel * (factor[:, None] if depthwise else factor)
    return Folded(kernel.astype(np.float32), (beta - mean * factor).astype(np.float32))


def plain(layer: keras.layers.Layer) -> Folded:
    """Returns the kernel and bias of a layer without a BatchNormalization after it."""
    return Folded(_numpy(layer.kernel, np.float32), _numpy(layer.bias, np.float32))


def _numpy(variable: Any, dtype: type = np.float64) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), dtype)


def stages(model: keras.Model) -> list[list[ShuffleUnit | ShuffleUnitV2]]:
    """Returns the units of every stage, in order."""
    found: dict[int, list] = {}
    for layer in model.layers:
        if match := _UNIT.fullmatch(layer.name):
            found.setdefault(int(match[1]), []).append(layer)
    return [found[stage] for stage in sorted(found)]


def check(model: keras.Model) -> None:
    """Raises UserError with the layer's name unless `model` is an unedited network of ours.

    The network is built again with the settings of its layers, and every layer, its settings and
    its inputs must be the same. It may end with a softmax or without an activation.
    """
    try:
        reference = _rebuild(model)
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"model {getattr(model, 'name', model)!r} is not a ShuffleNet of keras_shufflenet "
            f"({error}); build it with ShuffleNetV1 or ShuffleNetV2, or convert it with "
            "--graph=canonical"
        ) from error
    expected, found = dict(_described(reference)), dict(_described(model))
    for name, description in found.items():
        if name not in expected or description != expected[name]:
            raise UserError(
                f"layer {name!r} of model {model.name!r} was edited or added; only networks that "
                "are as ShuffleNetV1 and ShuffleNetV2 build them can be rewritten; "
                "--graph=canonical converts any model"
            )
    if missing := set(expected) - set(found):
        raise UserError(
            f"model {model.name!r} has no layer {min(missing)!r}; --graph=canonical converts it"
        )


def _rebuild(model: keras.Model) -> keras.Model:
    """Returns a new network, built with the arguments of the layers of `model`."""
    layers = {layer.name: layer for layer in model.layers}
    units = stages(model)
    if not units:
        raise ValueError("it has no layer stage2_unit1")
    first = units[0][0]
    arguments = {
        "input_shape": model.input_shape[1:],
        "stem_channels": layers["stem_conv"].filters,
        "small_images": layers["stem_conv"].strides == (1, 1),
        "padding": first.padding,
        "convention": first.convention,
        "preprocessing": preprocessing_of(model),
        "units_per_stage": [len(stage) for stage in units],
        "stage_channels": [stage[0].filters for stage in units],
        "name": model.name,
        **_top(layers),
    }
    if isinstance(first, ShuffleUnitV2):
        return ShuffleNetV2(head_channels=layers["head_conv"].filters, **arguments)
    options = {"groups": first.groups, "shuffle": first.use_shuffle, "se": first.use_se}
    return ShuffleNetV1(**options, **arguments)


def _top(layers: dict[str, keras.layers.Layer]) -> dict[str, Any]:
    if classifier := layers.get("predictions"):
        activation = keras.activations.serialize(classifier.activation)
        if activation not in ("linear", "softmax"):
            raise ValueError(f"layer 'predictions' has the activation {activation!r}")
        return {"classes": classifier.units, "classifier_activation": activation}
    pool = layers.get("global_pool")
    kinds = {
        keras.layers.GlobalAveragePooling2D: "avg",
        keras.layers.GlobalMaxPooling2D: "max",
        type(None): None,
    }
    return {"include_top": False, "pooling": kinds[type(pool)]}


def _described(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Yields each layer's name with its class, settings and the names of its inputs.

    The input always has the same name here, because Keras numbers it differently in every process.
    """
    for layer in model.get_config()["layers"]:
        is_input = layer["class_name"] == "InputLayer"
        config = {k: v for k, v in layer["config"].items() if k not in _IRRELEVANT | {"name"}}
        inputs = [_plain_name(name) for name in _input_names(layer["inbound_nodes"])]
        name = "input" if is_input else layer["config"]["name"]
        yield name, (layer["class_name"], config, inputs)


def _plain_name(name: str) -> str:
    return "input" if name.startswith(("input_layer", "keras_tensor")) else name


def _input_names(node: Any) -> list[str]:
    """Returns the names of the layers whose tensors a serialized call takes, in order."""
    if isinstance(node, dict):
        if "keras_history" in node:
            return [node["keras_history"][0]]
        return [name for value in node.values() for name in _input_names(value)]
    if isinstance(node, list | tuple):
        return [name for value in node for name in _input_names(value)]
    return []
