import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers.optimizers import ScaledOptimizer, add_weight_decay, make_optimizer
from trainers.recipes import make_config

ROOT = Path(__file__).resolve().parents[2]


def after(gradients, **values):
    """Returns a weight that began at 1 behind SGD with a constant rate of 0.1."""
    weight = keras.Variable(1.0)
    optimizer = make_optimizer(make_config("digits", "w", values), 0.1)
    optimizer.build([weight])
    for gradient in gradients:
        optimizer.apply([optimizer.scale_loss(tf.constant(gradient))], [weight])
    return float(weight), optimizer


def test_momentum_with_and_without_nesterov():
    # v = 0.9 v - 0.1 g; w += v, or with Nesterov w += 0.9 v - 0.1 g.
    assert after([1.0, 1.0], nesterov=False)[0] == pytest.approx(1 - 0.1 - 0.19)
    assert after([1.0, 1.0], nesterov=True)[0] == pytest.approx(1 - 0.19 - 0.271)


def test_loss_scaling_is_for_float16_alone():
    kinds = [
        type(make_optimizer(make_config("digits", "w", {"precision": precision}), 0.1))
        for precision in ("float32", "mixed_bfloat16", "mixed_float16")
    ]
    assert kinds == [keras.optimizers.SGD, keras.optimizers.SGD, ScaledOptimizer]


def test_scaled_steps_are_the_same_steps():
    plain, scaled = (after([1.0, 0.5], precision=p) for p in ("float32", "mixed_float16"))
    assert scaled[0] == pytest.approx(plain[0], rel=1e-6)
    assert float(scaled[1].dynamic_scale) == 2**15


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_an_overflow_changes_no_weight_but_counts_as_a_step(bad):
    weight, optimizer = after([1.0, bad], precision="mixed_float16")
    assert weight == pytest.approx(after([1.0])[0])
    assert float(optimizer.dynamic_scale) == 2**14
    assert int(optimizer.iterations) == 2
    weight, optimizer = after([1.0, bad, 1.0], precision="mixed_float16")
    assert weight == pytest.approx(after([1.0, 1.0])[0], rel=1e-6)
    assert int(optimizer.iterations) == 3


MIRRORED = """
import keras
import tensorflow as tf
from trainers.optimizers import make_optimizer
from trainers.recipes import make_config

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
config = make_config("digits", "w", {"precision": "mixed_float16", "nesterov": False})
with strategy.scope():
    weight = keras.Variable(1.0)
    optimizer = make_optimizer(config, 0.1)
    optimizer.build([weight])

@tf.function
def step(gradients):
    apply = lambda gradient: optimizer.apply([optimizer.scale_loss(gradient)], [weight])
    strategy.run(apply, args=(gradients,))

def check(gradients, expected_weight, scale, steps):
    at = lambda context: tf.constant(gradients[context.replica_id_in_sync_group])
    step(strategy.experimental_distribute_values_from_function(at))
    for variable, expected in (
        (weight, expected_weight), (optimizer.dynamic_scale, scale), (optimizer.iterations, steps)
    ):
        found = [float(value) for value in strategy.experimental_local_results(variable.value)]
        assert all(abs(value - expected) < 1e-6 for value in found), (variable.path, found)

inf = float("inf")
check([0.5, 0.5], 0.9, 2**15, 1)
check([0.5, inf], 0.9, 2**14, 2)
check([inf, 0.5], 0.9, 2**13, 3)
check([0.5, 0.5], 0.71, 2**13, 4)
"""


def test_an_overflow_on_one_device_is_one_on_all():
    # Apart, because a process can divide its CPU only before it uses it.
    command = [sys.executable, "-c", MIRRORED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_kernels_decay():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()]
    )
    variables = model.trainable_variables
    gradients = [tf.zeros(v.shape) for v in variables]
    for variable in variables:
        variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    decayed = add_weight_decay(gradients, variables, 0.5)
    for variable, gradient in zip(variables, decayed, strict=True):
        is_kernel = variable.name == "kernel"
        expected = 0.5 * variable.numpy() if is_kernel else np.zeros(variable.shape)
        np.testing.assert_array_equal(gradient, expected, variable.path)
