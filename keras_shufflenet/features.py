"""A network's feature maps at every resolution, for the heads of detectors and segmenters."""

import re

import keras

from keras_shufflenet.units import ShuffleUnitV2ExLarge, ShuffleUnitV2Large, ShuffleUnitV2Plus

_FROM_STRIDE_4 = (ShuffleUnitV2ExLarge, ShuffleUnitV2Large, ShuffleUnitV2Plus)
_UNIT = re.compile(r"stage(\d+)_unit(\d+)")
# The stem ends with one of these, of its layers the last: small images have no pool.
_STEM_ENDS = ("stem_pool", "stem3_relu", "stem_activation", "stem_relu")


def features(model: keras.Model) -> keras.Model:
    """Returns a model that outputs the feature maps of a ShuffleNet's stem and stages.

    It shares the layers, and so the weights, of `model`: training one trains the other. Layers
    before the stem are kept; the last convolution after the stages, the pool and the classifier are
    not.

    Args:
      model: a network of this package, with or without its top, loaded or new.

    Returns:
      A functional model with a list of outputs (batch, height, width, channels). V1 and V2 have one
      for the stem, then one for each stage. Their strides are 4, 8, 16 and 32 pixels (V1 Table 1,
      V2 Table 5), or 1, 2, 4 and 8 for small images. ShuffleNetV2Plus and ShuffleNetV2Large have
      one for each of their four stages, of the same strides; V2Plus 2, 4, 8 and 16 for small ones.

    Raises:
      ValueError: `model` is not a ShuffleNet of this package.

    Examples:
      >>> backbone = keras_shufflenet.ShuffleNetV2(0.5, include_top=False)
      >>> [tuple(y.shape) for y in keras_shufflenet.features(backbone).outputs]
      [(None, 56, 56, 24), (None, 28, 28, 48), (None, 14, 14, 96), (None, 7, 7, 192)]
    """
    layers = {layer.name: layer for layer in getattr(model, "layers", ())}
    stem = next((layers[name] for name in _STEM_ENDS if name in layers), None)
    ends = _ends_of_stages(layers)
    if stem is None or not ends:
        raise ValueError(
            "`model` must be a ShuffleNet of this package, with its layers called 'stem_relu' and "
            f"'stage2_unit1' and on. Received: model={model!r}"
        )
    outputs = [end.output for end in ends]
    # The four-stage networks begin at the stride of the others' stem.
    if not isinstance(layers["stage2_unit1"], _FROM_STRIDE_4):
        outputs.insert(0, stem.output)
    # Not a list of one input: with it, Keras warns at every call with a plain array.
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    return keras.Model(inputs, outputs, name=f"{model.name}_features")


def _ends_of_stages(layers: dict[str, keras.layers.Layer]) -> list[keras.layers.Layer]:
    """Returns what each stage ends with, in the order of the stages."""
    last: dict[int, int] = {}
    for name in layers:
        if match := _UNIT.fullmatch(name):
            stage, unit = map(int, match.groups())
            last[stage] = max(last.get(stage, 0), unit)
    names = {stage: f"stage{stage}_unit{last[stage]}" for stage in sorted(last)}
    # ShuffleNetV2.ExLarge has a convolution after each stage's units.
    return [layers.get(f"stage{stage}_mix_relu", layers[name]) for stage, name in names.items()]
