import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers.optimization.averaging import BatchNormStatistics, WeightAverage

ONE = tf.distribute.get_strategy()


@pytest.fixture
def model():
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization(epsilon=0.01)]
    )


class Counter(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.steps = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, inputs):
        return inputs


def values(model):
    return [weight.numpy() for weight in model.weights]


def test_the_average_is_the_exponential_one(model):
    average = WeightAverage(model, 0.6)
    average.reset()
    expected = values(model)
    rng = np.random.default_rng(0)
    for step in range(1, 12):
        for weight in model.weights:
            weight.assign(rng.normal(size=weight.shape))
        average.update(tf.constant(step))
        keep = min(0.6, (1 + step) / (10 + step))
        expected = [keep * e + (1 - keep) * v for e, v in zip(expected, values(model), strict=True)]
    for shadow, value in zip(average.shadows, expected, strict=True):
        np.testing.assert_allclose(shadow, value, atol=1e-6)


def test_the_model_has_the_average_in_the_block_and_its_own_weights_after_it(model):
    average = WeightAverage(model, 0.9)
    for shadow in average.shadows:
        shadow.assign(tf.fill(shadow.shape, 7.0))
    before = values(model)
    with pytest.raises(ZeroDivisionError), average.swapped():
        assert all((value == 7).all() for value in values(model))
        model.weights[0].assign(tf.fill(model.weights[0].shape, 8.0))
        _ = 1 / 0
    for mine, now in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(mine, now)
    assert (average.shadows[0].numpy() == 8).all()  # changes in the block are kept


def test_weights_that_count_are_not_averaged(model):
    counter = Counter()
    counting = keras.Sequential([model, counter])
    assert any(weight is counter.steps for weight in counting.weights)
    assert len(WeightAverage(counting, 0.9).shadows) == len(counting.weights) - 1


def test_batch_norm_gets_the_mean_of_the_batches_statistics(model):
    rng = np.random.default_rng(0)
    batches = [tf.constant(rng.normal(2, 3, (16, 3)), tf.float32) for _ in range(5)]
    inner = [model.layers[0](batch).numpy() for batch in batches]
    norm = model.layers[1]
    norm.moving_mean.assign(tf.fill([4], 99.0))  # must not matter
    trained = norm.gamma.numpy(), norm.beta.numpy(), norm.momentum
    BatchNormStatistics(model, ONE).reestimate([(batch, None) for batch in batches])
    np.testing.assert_allclose(norm.moving_mean, np.mean([x.mean(0) for x in inner], 0), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, np.mean([x.var(0) for x in inner], 0),
                               rtol=1e-5)  # fmt: skip
    for mine, now in zip(trained, (norm.gamma, norm.beta, norm.momentum), strict=True):
        np.testing.assert_array_equal(mine, now)


def test_batch_norms_momentum_is_restored_if_the_estimate_is_stopped(model):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        BatchNormStatistics(model, ONE).reestimate([(tf.zeros([2, 3]),)], stop)
    assert model.layers[1].momentum == 0.99


def test_batch_norm_has_the_batches_statistics_in_the_block_and_its_own_after_it(model):
    batches = [(tf.constant(np.random.default_rng(0).normal(2, 3, (16, 3)), tf.float32),)]
    norm, statistics = model.layers[1], BatchNormStatistics(model, ONE)
    norm.moving_mean.assign(tf.fill([4], 1 / 3))
    before = values(model)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), statistics.fitted(batches):
            inner = model.layers[0](batches[0][0]).numpy()
            np.testing.assert_allclose(norm.moving_mean, inner.mean(0), atol=1e-5)
            _ = 1 / 0
        for mine, now in zip(before, values(model), strict=True):
            np.testing.assert_array_equal(mine, now)
