"""A network's feature maps at every resolution, for the heads of detectors and segmenters."""

import re

import keras

_UNIT = re.compile(r"stage(\d+)_unit(\d+)")
# The stem ends with one of these; small images have no pool.
_STEM_ENDS = ("stem_pool", "stem_relu")


def features(model: keras.Model) -> keras.Model:
    """Returns a model that outputs the feature maps of a ShuffleNet's stem and stages.

    It shares the layers, and so the weights, of `model`: training one trains the other. Layers
    before the stem are kept; V2's last convolution, the pool and the classifier are not.

    Args:
      model: a ShuffleNetV1 or ShuffleNetV2, with or without its top, loaded or new.

    Returns:
      A functional model with a list of outputs (batch, height, width, channels): one for the stem,
      then one for each stage. Their strides are 4, 8, 16 and 32 pixels (V1 Table 1, V2 Table 5), or
      1, 2, 4 and 8 for small images.

    Raises:
      ValueError: `model` is not a ShuffleNet of this package.

    Examples:
      >>> backbone = keras_shufflenet.ShuffleNetV2(0.5, include_top=False)
      >>> [tuple(y.shape) for y in keras_shufflenet.features(backbone).outputs]
      [(None, 56, 56, 24), (None, 28, 28, 48), (None, 14, 14, 96), (None, 7, 7, 192)]
    """
    layers = {layer.name: layer for layer in getattr(model, "layers", ())}
    stem = next((layers[name] for name in _STEM_ENDS if name in layers), None)
    ends = _last_units(layers)
    if stem is None or not ends:
        raise ValueError(
            "`model` must be a ShuffleNet of this package, with its layers called 'stem_relu' and "
            f"'stage2_unit1' and on. Received: model={model!r}"
        )
    outputs = [stem.output, *(end.output for end in ends)]
    # Not a list of one input: with it, Keras warns at every call with a plain array.
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    return keras.Model(inputs, outputs, name=f"{model.name}_features")


def _last_units(layers: dict[str, keras.layers.Layer]) -> list[keras.layers.Layer]:
    """Returns the last unit of each stage, in the order of the stages."""
    last: dict[int, int] = {}
    for name in layers:
        if match := _UNIT.fullmatch(name):
            stage, unit = map(int, match.groups())
            last[stage] = max(last.get(stage, 0), unit)
    return [layers[f"stage{stage}_unit{last[stage]}"] for stage in sorted(last)]
