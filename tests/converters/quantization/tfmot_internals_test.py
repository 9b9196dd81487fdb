import importlib.metadata

import tensorflow_model_optimization as tfmot
import tf_keras

from converters.quantization.fake_quantization import WeightConfig, WeightQuantizer
from converters.quantization.tfmot_internals import AnnotatedAlone, Wrapper

CHANGED = (
    "tensorflow-model-optimization "
    f"{importlib.metadata.version('tensorflow-model-optimization')} has changed its private "
    "interface: adapt converters/quantization/tfmot_internals.py, or lower the bound in setup.py. "
)


def test_what_is_annotated_is_wrapped_and_nothing_else():
    image = tf_keras.Input((4, 4, 2))
    annotated = tfmot.quantization.keras.quantize_annotate_layer(
        tf_keras.layers.Conv2D(3, 1, name="conv"), WeightConfig("kernel", 3)
    )
    model = tf_keras.Model(image, tf_keras.layers.ReLU(name="relu")(annotated(image)))
    scope = {"WeightConfig": WeightConfig, "WeightQuantizer": WeightQuantizer}
    with tfmot.quantization.keras.quantize_scope(scope):
        model = tfmot.quantization.keras.quantize_apply(model, scheme=AnnotatedAlone())
    layers = {layer.name: type(layer) for layer in model.layers[1:]}
    expected = {"quant_conv": Wrapper, "relu": tf_keras.layers.ReLU}
    assert layers == expected, f"{CHANGED}The layers are {layers}"
    assert model.get_layer("quant_conv").quantize_config.axis == 3, CHANGED
