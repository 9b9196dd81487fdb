import subprocess
import sys
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers.optimization.optimizers import (
    SGD,
    AdamW,
    Muon,
    ScaledOptimizer,
    make_optimizer,
    orthogonalized,
)
from trainers.recipes import make_config

ROOT = Path(__file__).resolve().parents[3]


def after(gradients, **values):
    """Returns a weight that was 1 before SGD with a constant rate of 0.1."""
    weight = keras.Variable(1.0)
    optimizer = make_optimizer(make_config("digits", "w", values).optimization, 0.1)
    optimizer.build([weight])
    for gradient in gradients:
        optimizer.apply([optimizer.scale_loss(tf.constant(gradient))], [weight])
    return float(weight), optimizer


def test_momentum_with_and_without_nesterov():
    # v = 0.9 v - 0.1 g; w += v, or with Nesterov w += 0.9 v - 0.1 g.
    assert after([1.0, 1.0], nesterov=False)[0] == pytest.approx(1 - 0.1 - 0.19)
    assert after([1.0, 1.0], nesterov=True)[0] == pytest.approx(1 - 0.19 - 0.271)


def random_matrix(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(24, 24), (96, 16), (16, 96), (1, 5)])
def test_an_orthogonalized_matrix_keeps_its_directions(shape):
    matrix = random_matrix(*shape)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values /= np.linalg.norm(matrix)
    found = left.T @ orthogonalized(tf.constant(matrix)).numpy() @ right.T
    diagonal = np.diagonal(found)
    large = diagonal[values > 0.002]
    assert len(large) > 0.9 * len(values)
    assert 0.65 < large.min() <= large.max() < 1.25
    np.testing.assert_allclose(found, np.diag(diagonal), atol=1e-4)


def test_the_zero_matrix_stays_zero():
    np.testing.assert_array_equal(orthogonalized(tf.zeros((3, 4))), np.zeros((3, 4)))


@pytest.mark.parametrize("nesterov", [False, True])
def test_muon_steps_along_the_orthogonalized_momentum(nesterov):
    optimizer = Muon(0.1, decay=0.05, momentum=0.9, nesterov=nesterov)
    kernel = keras.Variable(np.zeros((1, 1, 6, 24), np.float32))
    optimizer.build([kernel])
    first, second = random_matrix(2, 6, 24)
    optimizer.apply([tf.constant(first[None, None])], [kernel])
    before = kernel.numpy()
    optimizer.apply([tf.constant(second[None, None])], [kernel])
    momentum = 0.9 * first + second
    ahead = 0.9 * momentum + second if nesterov else momentum
    # Four times as many outputs as inputs: twice the length.
    step = 0.1 * 2 * orthogonalized(tf.constant(ahead)).numpy()
    expected = before[0, 0] - 0.1 * (step + 0.5 * before[0, 0])
    np.testing.assert_allclose(kernel.numpy()[0, 0], expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (8,)])
def test_adamw_takes_the_same_step_as_keras(shape):
    results = []
    for make in (AdamW, keras.optimizers.AdamW):
        name = "decay" if make is AdamW else "weight_decay"
        # Ours keeps vectors from decaying.
        optimizer = make(0.1, **{name: 0.05 if len(shape) > 1 else 0.0})
        variable = keras.Variable(random_matrix(*shape))
        optimizer.build([variable])
        for scale in (1.0, -0.3, 0.02):
            optimizer.apply([tf.constant(scale * random_matrix(*shape)[::-1])], [variable])
        results.append(variable.numpy())
    np.testing.assert_allclose(*results, atol=1e-5)
    vector = keras.Variable(np.ones(3, np.float32))
    optimizer = AdamW(0.1, decay=0.5)
    optimizer.build([vector])
    optimizer.apply([tf.zeros(3)], [vector])
    np.testing.assert_array_equal(vector.numpy(), 1)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 4, 8), (3, 3, 8, 1), (8,), (8, 4)])
def test_sgd_takes_the_same_step_as_keras(shape, nesterov):
    results = []
    for kind in (SGD, keras.optimizers.SGD):
        optimizer = kind(0.1, momentum=0.9, nesterov=nesterov)
        variable = keras.Variable(np.ones(shape))
        optimizer.build([variable])
        for gradient in random_matrix(3, *shape):
            optimizer.apply([tf.constant(gradient)], [variable])
        results.append(variable.numpy())
    np.testing.assert_allclose(*results, rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (3, 3, 8, 1), (8,), (8, 4)])
def test_muon_gives_all_other_variables_sgds_step(shape):
    results = []
    for kind in (Muon, SGD):
        optimizer = kind(0.1, 0.05, momentum=0.9, nesterov=True)
        variable = keras.Variable(np.ones(shape))
        optimizer.build([variable])
        for gradient in random_matrix(2, *shape):
            optimizer.apply([tf.constant(gradient)], [variable])
        results.append(variable.numpy())
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("kind", [SGD, Muon])
def test_biases_have_their_own_rate(kind):
    names = ["kernel", "gamma", "beta", "bias"]
    changes = []
    for bias_rate in (1.0, 8.0):
        optimizer = kind(0.1, bias_rate=bias_rate, momentum=0.9, nesterov=True)
        variables = [keras.Variable(np.ones(4), name=name) for name in names]
        optimizer.build(variables)
        for gradient in (1.0, 0.5):
            optimizer.apply([tf.fill([4], gradient)] * 4, variables)
        changes.append([variable.numpy()[0] - 1 for variable in variables])
    np.testing.assert_allclose(np.divide(*changes[::-1]), [1, 1, 8, 8], rtol=1e-5)


def operators_of_a_step(count):
    """Counts the operators of SGD's step by type, for `count` kernels with a decay."""
    rate = keras.optimizers.schedules.CosineDecay(0.1, 100)
    optimizer = SGD(rate, decay=0.01, momentum=0.9, nesterov=True)
    kernels = [keras.Variable(np.ones((4, 4), np.float32)) for _ in range(count)]
    optimizer.build(kernels)

    @tf.function(autograph=False)
    def step(*gradients):
        optimizer.apply(gradients, kernels)

    graph = step.get_concrete_function(*[tf.ones((4, 4))] * count).graph
    return Counter(operator.type for operator in graph.get_operations())


def test_a_kernel_adds_few_operators_to_sgds_step():
    """Tracing and optimizing each takes time; no constants, and no sums over one device."""
    added = operators_of_a_step(3) - operators_of_a_step(2)
    step = {"ReadVariableOp": 1, "Mul": 1, "AddV2": 1, "ResourceApplyKerasMomentum": 1}
    # Its gradient, itself and its momentum.
    assert added == {"Placeholder": 3, **step}


def test_the_config_chooses_the_optimizer():
    values = {"nesterov": False, "weight_decay": 0.01, "bias_rate": 2.0}
    optimizers = [
        make_optimizer(make_config("digits", "w", {**values, "optimizer": name}).optimization, 0.1)
        for name in ("sgd", "muon")
    ]
    assert [type(optimizer) for optimizer in optimizers] == [SGD, Muon]
    for optimizer in optimizers:
        assert (optimizer.nesterov, optimizer.decay, optimizer.bias_rate) == (False, 0.01, 2.0)


def test_muon_lets_kernels_decay_as_fast_as_sgd_does():
    """Without any gradient; SGD's momentum needs some steps until it is as fast."""
    lengths = {}
    for name in ("sgd", "muon"):
        config = make_config("digits", "w", {"optimizer": name, "weight_decay": 0.001}).optimization
        kernel = keras.Variable(random_matrix(1, 1, 4, 8))
        optimizer = make_optimizer(config, 0.1)
        optimizer.build([kernel])
        for _ in range(300):
            optimizer.apply([tf.zeros(kernel.shape)], [kernel])
        lengths[name] = np.linalg.norm(kernel) / np.linalg.norm(random_matrix(1, 1, 4, 8))
    # The learning rate is 0.1, and the momentum makes it ten times as large.
    assert lengths["muon"] == pytest.approx(0.999**300, rel=1e-3)
    assert lengths["sgd"] == pytest.approx(lengths["muon"], rel=0.02)


def test_loss_scaling_is_only_for_float16():
    kinds = [
        type(make_optimizer(make_config("digits", "w", {"precision": precision}).optimization, 0.1))
        for precision in ("float32", "mixed_bfloat16", "mixed_float16")
    ]
    assert kinds == [SGD, SGD, ScaledOptimizer]


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
from trainers.optimization.optimizers import make_optimizer
from trainers.recipes import make_config

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
config = make_config("digits", "w", {"precision": "mixed_float16", "nesterov": False}).optimization
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


@pytest.mark.medium
def test_an_overflow_on_one_device_is_one_on_all():
    # In a separate process, because a process can divide its CPU only before it uses it.
    command = [sys.executable, "-c", MIRRORED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_kernels_decay():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(2),
        ]
    )
    for variable in model.trainable_variables:
        variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    before = [variable.numpy() for variable in model.trainable_variables]
    optimizer = SGD(0.1, decay=0.5, momentum=0.9)
    gradients = [tf.zeros(value.shape) for value in before]
    optimizer.apply(gradients, model.trainable_variables)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        factor = 1 - 0.1 * 0.5 if variable.name == "kernel" else 1
        np.testing.assert_allclose(variable.numpy(), factor * value, 1e-6, err_msg=variable.path)
