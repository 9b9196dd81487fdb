"""The test case that every network goes through. A network joins by one line of a table."""

import importlib.util
import shutil
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest

from experiments.networks.classifiers import SqueezeNet
from experiments.networks.deep import Depth
from experiments.networks.deep import build as deep
from experiments.networks.structures import Widths
from experiments.networks.structures import build as structure
from keras_shufflenet import (
    ShuffleNetV1,
    ShuffleNetV2,
    ShuffleNetV2Large,
    ShuffleNetV2Plus,
    features,
    preprocessing_of,
)
from keras_shufflenet.complexity import complexity

# Even and odd extents at several strides: the two paddings differ on even ones alone.
SHAPE = (44, 33, 3)
CLASSES = 5
# Both kinds of unit in every stage but one; the full depth is for multiply_adds_test.py.
UNITS = (1, 2, 2)
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
on_tensorflow = pytest.mark.skipif(not ON_TENSORFLOW, reason="TensorFlow alone can do this")


class Network(NamedTuple):
    """A small network, and what it has for images of `SHAPE` and `CLASSES` classes.

    Attributes:
      build: takes the arguments of `ShuffleNetV2` that all of our networks have; those of
        experiments take `input_shape` and `classes` and give logits.
      macs: multiply-adds.
      parameters: without moving statistics.
      channels: of the feature maps of strides 4 to 32.
      small_stride: of the last map for small images, a stride of the stem's less than 32.
      classifier: number of weights that only a network with a classifier has.
      targets: of the deployment graph; the others differ little, and grouped ones take long.
    """

    build: Callable[..., keras.Model]
    macs: int
    parameters: int
    channels: tuple[int, ...] = ()
    targets: tuple[str, ...] = ("cpu",)
    small_stride: int = 8
    classifier: int = 2

    def __call__(self, **arguments):
        return self.build(**arguments)


def v1(scale, groups, units=UNITS, **options):
    return lambda **k: ShuffleNetV1(scale, groups, units_per_stage=units, **options, **k)


def v2(scale, units=UNITS, **options):
    return lambda **k: ShuffleNetV2(scale, units_per_stage=units, **options, **k)


def v2_plus(**options):
    return lambda **k: ShuffleNetV2Plus(
        blocks=BLOCKS, stage_channels=(20, 24, 32, 36), head_channels=40, dropout_rate=0,
        **options, **k,
    )  # fmt: skip


def v2_large(size, stages, **options):
    return lambda **k: ShuffleNetV2Large(
        size, stem_channels=(4, 6, 8), stage_channels=stages, units_per_stage=(2, 1, 2, 1),
        dropout_rate=0, **options, **k,
    )  # fmt: skip


# Every block, at both strides where that makes a difference.
BLOCKS = (("3x3", "xception"), ("5x5", "5x5"), ("7x7", "3x3", "7x7"), ("xception", "xception"))
MEGVII = {"convention": "megvii"}
FOUR = ("cpu", "micro", "edgetpu", "ethosu")
OURS = {
    "v1": Network(v1(0.25, 4), 276_260, 23_921, (12, 68, 136, 272), FOUR),
    "v1_se": Network(v1(0.25, 8, se=True), 288_048, 74_411, (8, 96, 192, 384)),
    "v1_megvii_g3": Network(v1(0.5, 3, (2, 1, 1), **MEGVII), 507_396, 34_889, (12, 120, 240, 480)),
    "v1_megvii_g8": Network(
        v1(0.5, 8, (2, 1, 1), **MEGVII), 592_512, 38_357, (16, 192, 384, 768), FOUR[::2]
    ),
    "v2": Network(v2(0.5), 1_542_944, 270_669, (24, 48, 96, 192), FOUR),
    # Megvii's first unit of Stage2 has 24 and 92 channels.
    "v2_megvii": Network(
        v2(1.0, (4, 2, 1), **MEGVII), 4_985_820, 754_589, (24, 116, 232, 464), FOUR[::2]
    ),
}
PLUS = {"small_stride": 16, "classifier": 8}
OURS |= {
    "v2_plus": Network(v2_plus(), 488_428, 19_132, (20, 24, 32, 36), FOUR, **PLUS),
    "v2_large": Network(
        v2_large("large", (16, 32, 32, 48), head_channels=20),
        560_684,
        29_377,
        (16, 32, 32, 48),
        FOUR[::2],
    ),
    "v2_exlarge": Network(
        v2_large("exlarge", (32, 32, 64, 64)), 1_595_576, 78_353, (32, 32, 64, 64), FOUR[::2]
    ),
}
DEPTH = Depth(stem=(4, 8), stages=(8, 16), units=(2, 1), head=6)
EXPERIMENTS = {
    "deep_v2": Network(lambda **k: deep(DEPTH, residual=True, se=True, **k), 163_446, 1_531),
    "resnext": Network(
        lambda **k: structure("ResNeXt", Widths(8, (32, 64, 96)), **k), 795_504, 94_797
    ),
    "squeezenet": Network(SqueezeNet, 11_505_472, 737_989),
}
# Experiments run on TensorFlow.
ALL = OURS | (EXPERIMENTS if ON_TENSORFLOW else {})


# A network of each kind; `make test-slow` takes the others through what builds several models.
QUICK = ("v1", "v2", "v2_plus")


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in OURS]
)
def network(request):
    return OURS[request.param]


@pytest.fixture(scope="module", params=list(ALL))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name, randomize):
    """A network that gives logits. Do not change it."""
    keras.utils.set_random_seed(0)
    options = {"input_shape": SHAPE, "classes": CLASSES}
    if name in OURS:
        options |= {"padding": "symmetric", "preprocessing": "raw", "classifier_activation": None}
    return randomize(ALL[name](**options))


@pytest.fixture(scope="module")
def logits(model):
    return as_array(model(images()))


ours = pytest.mark.parametrize("name", list(OURS), indirect=True)


def images(shape=SHAPE, batch=2):
    return np.random.default_rng(0).normal(size=(batch, *shape)).astype("float32")


def as_array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def assert_equal_weights(found, expected):
    for weight, wanted in zip(found, expected, strict=True):
        assert weight.path == wanted.path
        np.testing.assert_array_equal(as_array(weight), as_array(wanted), err_msg=weight.path)


def test_multiply_adds_and_parameters(name, model):
    counted = complexity(model)
    assert (counted.macs, counted.parameters) == (ALL[name].macs, ALL[name].parameters)


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("input_shape", [(32, 32, 1), (33, 47, 3), (64, 35, 5), (63, 63, 3)])
def test_any_size_channels_and_batch(network, input_shape, padding):
    model = network(input_shape=input_shape, padding=padding, classes=7)
    halved_five_times = tuple(-(-size // 32) for size in input_shape[:2])
    assert model.get_layer("global_pool").input.shape[1:3] == halved_five_times
    for batch in (1, 3):
        y = as_array(model(images(input_shape, batch)))
        assert y.shape == (batch, 7)
        np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-5)


@on_tensorflow
@pytest.mark.parametrize("experiment", list(EXPERIMENTS))
def test_any_size_of_the_experiments(experiment):
    model = EXPERIMENTS[experiment](input_shape=(63, 38, 1), classes=7)
    assert as_array(model(images((63, 38, 1), 3))).shape == (3, 7)


def test_unknown_size(network):
    model = network(input_shape=(None, None, 3), classes=4)
    fixed = network(input_shape=(40, 33, 3), classes=4)
    fixed.set_weights(model.get_weights())
    x = images((40, 33, 3))

    np.testing.assert_allclose(model.predict(x, verbose=0), as_array(fixed(x)), atol=1e-6)


def test_small_images(network):
    model = network(small_images=True, include_top=False)

    size = 32 // network.small_stride
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape[1:3] == (size, size)
    assert model.get_layer("stem_conv").strides == (1, 1)
    assert "stem_pool" not in [layer.name for layer in model.layers]
    assert [output.shape[1] for output in features(model).outputs] == [
        size * factor for factor in (8, 4, 2, 1)
    ]
    symmetric = network(small_images=True, include_top=False, padding="symmetric")
    assert symmetric.output_shape == model.output_shape
    assert [layer.name for layer in symmetric.layers[1:]] == [
        layer.name for layer in model.layers[1:]
    ]


def test_without_a_classifier(network):
    x = images((64, 40, 3))
    plain = network(input_shape=(64, 40, 3), include_top=False)
    pooled = {}
    for pooling in ("avg", "max"):
        model = network(input_shape=(64, 40, 3), include_top=False, pooling=pooling)
        model.set_weights(plain.get_weights())
        pooled[pooling] = as_array(model(x))
    y = as_array(plain(x))

    assert y.shape[:3] == (2, 2, 2)
    np.testing.assert_allclose(pooled["avg"], y.mean(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(pooled["max"], y.max(axis=(1, 2)), atol=1e-6)
    assert_strides(plain, network)


def assert_strides(model, network):
    height, width = model.input_shape[1:3]
    assert [tuple(output.shape) for output in features(model).outputs] == [
        (None, -(-height // stride), -(-width // stride), channels)
        for stride, channels in zip((4, 8, 16, 32), network.channels, strict=True)
    ]


@ours
def test_features_have_strides_4_to_32_and_share_the_weights(name, model):
    assert_strides(model, OURS[name])
    weights = {id(weight) for weight in model.weights}
    assert {id(weight) for weight in features(model).weights} < weights


def test_logits_and_probabilities(network):
    x = images((32, 32, 3))
    logits = network(input_shape=(32, 32, 3), classes=5, classifier_activation=None)
    probabilities = network(input_shape=(32, 32, 3), classes=5)
    probabilities.set_weights(logits.get_weights())

    expected = as_array(keras.ops.softmax(logits(x)))
    np.testing.assert_allclose(as_array(probabilities(x)), expected, atol=1e-6)


def test_on_top_of_a_tensor(network):
    inputs = keras.Input((64, 64, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    model = network(input_tensor=x, classes=3)
    plain = network(input_shape=(64, 64, 3), classes=3)
    plain.set_weights(model.get_weights())
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)

    assert model.inputs[0] is inputs
    np.testing.assert_allclose(
        as_array(model(pixels)), as_array(plain(pixels.astype("float32") / 127.5 - 1)), atol=1e-6
    )


def test_no_warning_when_called(model, recwarn):
    model(images())
    assert not [w for w in recwarn if "structure of `inputs`" in str(w.message)]


def test_half_precision_is_kept_and_close(network):
    wide = network(input_shape=(32, 32, 3), classes=5)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = network(input_shape=(32, 32, 3), classes=5)
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(wide.get_weights())

    assert half.output.dtype == "float16"
    assert half.get_layer("stage2_unit1").compute_dtype == "float16"
    assert {weight.dtype for weight in half.weights} == {"float32"}
    x = images((32, 32, 3), 1)
    np.testing.assert_allclose(as_array(half(x)), as_array(wide(x)), atol=2e-3)


def unmoved(model):
    """The paths of the weights that a training step leaves as they are."""
    before = [as_array(weight).copy() for weight in model.weights]
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True)
    model.train_on_batch(images((64, 64, 3), 8), np.arange(8) % 3)
    assert all(np.isfinite(as_array(weight)).all() for weight in model.weights)
    return {
        weight.path
        for weight, old in zip(model.weights, before, strict=True)
        if np.array_equal(as_array(weight), old)
    }


@pytest.mark.parametrize("network", ALL.values(), ids=ALL)
def test_one_training_step_moves_every_weight(network, randomize):
    model = network(input_shape=(64, 64, 3), classes=3)
    still = unmoved(model)
    # Offsets are zero at the start: there the next BatchNormalization undoes some factors exactly.
    assert not still or not still & unmoved(randomize(model))


def test_save_and_load_give_the_same_output(name, model, logits, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(as_array(again(images())), logits)
    assert [weight.path for weight in again.weights] == [weight.path for weight in model.weights]
    assert preprocessing_of(again) == ("raw" if name in OURS else None)


def test_weights_from_a_file(network, randomize, tmp_path):
    model = randomize(network(input_shape=(32, 32, 3), classes=3))
    model.compile("adam", "mse")  # the optimizer's arrays are in a .keras file too
    model.save(tmp_path / "trained.keras")
    model.save_weights(tmp_path / "trained.weights.h5")
    for path in (tmp_path / "trained.keras", tmp_path / "trained.weights.h5"):
        # Weights do not depend on the size.
        again = network(input_shape=(40, 40, 3), classes=3, weights=path)
        plain = network(input_shape=(32, 32, 3), include_top=False, weights=str(path))
        assert_equal_weights(again.weights, model.weights)
        assert_equal_weights(plain.weights, model.weights[: -network.classifier])


def test_a_clone_computes_the_same(model, logits):
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(as_array(clone(images())), logits)


def test_a_model_is_rebuilt_from_its_json(model, logits):
    again = keras.models.model_from_json(model.to_json())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(as_array(again(images())), logits)


@on_tensorflow
@ours
def test_the_deployment_graph_computes_the_same(name, model, logits):
    from converters.graph.deployment import deployment_graph
    from converters.graph.emitter import emit

    for target in OURS[name].targets:
        found = np.asarray(emit(deployment_graph(model, target))(images()))
        # Of the logits' standard deviation; at most MEASURED was measured.
        assert np.abs(found - logits).max() <= 1e-4 * logits.std(), target


@on_tensorflow
@pytest.mark.parametrize("name", ["v2", "v2_plus"], indirect=True)
def test_the_deployment_graph_of_the_features_computes_the_same(model):
    from converters.graph.deployment import deployment_graph
    from converters.graph.emitter import emit

    maps = features(model)
    for found, expected in zip(emit(deployment_graph(maps))(images()), maps(images()), strict=True):
        expected = as_array(expected)
        assert np.abs(np.asarray(found) - expected).max() <= 1e-4 * expected.std()


# One network of each kind: it takes seconds.
one_of_each = pytest.mark.parametrize("name", ["v1", "v2"], indirect=True)


@on_tensorflow
@one_of_each
def test_a_saved_model_computes_the_same(model, logits, tmp_path):
    import tensorflow as tf

    model.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(served.serve(images()).numpy(), logits, atol=1e-5)


@pytest.mark.slow
@on_tensorflow
@one_of_each
def test_keras_own_export_to_litert_computes_the_same(model, logits, tmp_path):
    from common.tflite.litert import LiteRTModel

    path = tmp_path / "model.tflite"
    model.export(path, format="litert", verbose=False)
    np.testing.assert_allclose(LiteRTModel(path).predict(images()), logits, atol=1e-5)


# Not V1: Keras computes grouped convolutions in a compiled function, which tf2onnx does not know.
@on_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("name", ["v2"], indirect=True)
def test_keras_own_export_to_onnx_computes_the_same(model, logits, tmp_path):
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    # After `logits`: Keras exports no model to ONNX that was never called.
    model.export(path, format="onnx", verbose=False)
    session = runtime.InferenceSession(path)
    (output,) = session.run(None, {session.get_inputs()[0].name: images()})
    np.testing.assert_allclose(output, logits, atol=1e-5)


@pytest.mark.skipif(
    not (importlib.util.find_spec("pydot") and shutil.which("dot")),
    reason="keras.utils.plot_model needs pydot and Graphviz",
)
@one_of_each
def test_the_model_can_be_plotted(model, tmp_path):
    keras.utils.plot_model(model, tmp_path / "model.png", show_shapes=True)
    assert (tmp_path / "model.png").stat().st_size > 10_000


@pytest.mark.slow
@one_of_each
def test_a_compiled_graph_computes_the_same(model, logits):
    compiled = keras.models.clone_model(model)
    compiled.set_weights(model.get_weights())
    compiled.compile(jit_compile=True)
    np.testing.assert_allclose(compiled.predict(images(), verbose=0), logits, atol=1e-5)
