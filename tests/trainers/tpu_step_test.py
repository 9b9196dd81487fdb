import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_shufflenet
from trainers.recipes import make_config
from trainers.tpu_step import inspect_step, training_step

SIZE, BATCH = 32, 8
SMALL = {"units_per_stage": (1, 1, 1), "stage_channels": (8, 16, 24), "head_channels": 16}
EVERYTHING = {"mixup": 0.2, "cutmix": 1.0, "label_smoothing": 0.1, "precision": "mixed_bfloat16"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The file of a network that XLA compiles in seconds."""
    path = tmp_path_factory.mktemp("tpu") / "small.keras"
    keras_shufflenet.ShuffleNetV2(
        input_shape=(SIZE, SIZE, 3), classes=10, small_images=True, classifier_activation=None,
        **SMALL,
    ).save(path)  # fmt: skip
    return str(path)


def config(folder, **values):
    return make_config("cifar10", str(folder / "work"), {"batch_size": BATCH, **values})


def test_a_step_has_static_shapes_and_nothing_for_the_host(tmp_path, small):
    function, trainer = training_step(config(tmp_path, model=small), 3, 10)
    report = inspect_step(function)
    assert report.runs_on_tpu and (report.host, report.dynamic) == ((), ())
    assert report.operators > 500
    # It has the whole step: gradients, momentum and BatchNorm's statistics.
    kinds = {operation.type for operation in function.graph.get_operations()}
    assert {"DepthwiseConv2dNativeBackpropFilter", "AssignVariableOp", "ReadVariableOp"} <= kinds
    assert not (tmp_path / "work").exists() and trainer.optimizer.iterations == 0


@pytest.mark.slow
@pytest.mark.parametrize("model", ["shufflenet_v1", "shufflenet_v2"])
@pytest.mark.parametrize("recipe", ["cifar10", "shufflenet_v2_paper", "torchvision_600"])
def test_the_recipes_steps_run_on_a_tpu(tmp_path, recipe, model):
    values = {"batch_size": BATCH, "model": model, "scale": 0.5, **EVERYTHING}
    made = make_config(recipe, str(tmp_path), values)
    assert inspect_step(training_step(made, 3, 10)[0]).runs_on_tpu


@pytest.mark.parametrize(
    ("change", "host", "dynamic"),
    [
        (lambda x: tf.numpy_function(np.sin, [x], tf.float32), ("PyFunc",), 1),
        (
            lambda x: tf.strings.to_number(tf.strings.as_string(x)),
            ("AsString", "StringToNumber"),
            0,
        ),
        (lambda x: tf.boolean_mask(x, x > 0), (), 1),
        (
            lambda x: tf.map_fn(lambda y: tf.py_function(abs, [y], tf.float32), x),
            ("EagerPyFunc",),
            1,
        ),
    ],
    ids=["numpy", "strings", "dynamic", "in a loop"],
)
def test_what_does_not_run_on_a_tpu_is_found(change, host, dynamic):
    function = tf.function(change).get_concrete_function(tf.TensorSpec([4], tf.float32))
    report = inspect_step(function)
    assert set(host) <= set(report.host) and len(report.dynamic) >= dynamic
    assert not report.runs_on_tpu


@pytest.mark.slow
def test_xla_compiles_the_step_to_the_same_weights(tmp_path, small):
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(BATCH, SIZE, SIZE, 3)), tf.float32)
    labels = tf.constant(rng.integers(0, 10, BATCH))
    weights = []
    for compiled in (True, False):
        made = config(tmp_path, model=small, warmup_epochs=0.0)
        function, trainer = training_step(made, 3, 10, jit_compile=compiled)
        start = [weight.numpy() for weight in trainer.model.weights]
        loss = function(images, labels)
        weights.append([loss.numpy(), *(weight.numpy() for weight in trainer.model.weights)])
    assert max(np.abs(a - b).max() for a, b in zip(start, weights[0][1:], strict=True)) > 1e-3
    for mine, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)
    assert keras.config.floatx() == "float32"
