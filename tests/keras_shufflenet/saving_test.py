"""What Keras offers to do with a model works with ours."""

import importlib.util
import shutil

import keras
import numpy as np
import pytest

from keras_shufflenet import ShuffleNetV1, ShuffleNetV2

UNITS = (1, 2, 2)
SHAPE = (32, 32, 3)
NETWORKS = {
    "v1": lambda **k: ShuffleNetV1(0.25, 4, units_per_stage=UNITS, input_shape=SHAPE, **k),
    "v2": lambda **k: ShuffleNetV2(0.5, units_per_stage=UNITS, input_shape=SHAPE, **k),
}
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Keras exports this from TensorFlow alone"
)


@pytest.fixture(params=list(NETWORKS))
def model(request):
    return NETWORKS[request.param](classes=5, classifier_activation=None)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(1, *SHAPE)).astype("float32")


def logits(model, images):
    return keras.ops.convert_to_numpy(model(images))


def test_a_clone_computes_the_same(model, images):
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(logits(clone, images), logits(model, images))


def test_a_model_is_rebuilt_from_its_json(model, images):
    again = keras.models.model_from_json(model.to_json())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(logits(again, images), logits(model, images))


@on_tensorflow
def test_a_saved_model_computes_the_same(model, images, tmp_path):
    model.export(tmp_path / "saved", verbose=False)
    import tensorflow as tf

    served = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(served.serve(images).numpy(), logits(model, images), atol=1e-5)


@on_tensorflow
def test_keras_own_export_to_litert_computes_the_same(model, images, tmp_path):
    from common.litert import LiteRTModel

    path = tmp_path / "model.tflite"
    model.export(path, format="litert", verbose=False)
    np.testing.assert_allclose(LiteRTModel(path).predict(images), logits(model, images), atol=1e-5)


# Not V1: Keras computes grouped convolutions in a compiled function, which tf2onnx does not know.
@on_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("model", ["v2"], indirect=True)
def test_keras_own_export_to_onnx_computes_the_same(model, images, tmp_path):
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    # First: Keras exports no model to ONNX that was never called.
    expected = logits(model, images)
    model.export(path, format="onnx", verbose=False)
    session = runtime.InferenceSession(path)
    (output,) = session.run(None, {session.get_inputs()[0].name: images})
    np.testing.assert_allclose(output, expected, atol=1e-5)


@pytest.mark.skipif(
    not (importlib.util.find_spec("pydot") and shutil.which("dot")),
    reason="keras.utils.plot_model needs pydot and Graphviz",
)
def test_the_model_can_be_plotted(model, tmp_path):
    keras.utils.plot_model(model, tmp_path / "model.png", show_shapes=True)
    assert (tmp_path / "model.png").stat().st_size > 10_000


def test_half_precision_is_kept_and_close(images):
    wide = ShuffleNetV2(0.5, units_per_stage=UNITS, input_shape=SHAPE, classes=5)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = ShuffleNetV2(0.5, units_per_stage=UNITS, input_shape=SHAPE, classes=5)
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(wide.get_weights())
    assert half.get_layer("stage2_unit1").compute_dtype == "float16"
    assert all(weight.dtype == "float32" for weight in half.weights)
    np.testing.assert_allclose(logits(half, images), logits(wide, images), atol=2e-3)


@pytest.mark.slow
def test_a_compiled_graph_computes_the_same(model, images):
    expected = logits(model, images)
    model.compile(jit_compile=True)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)
