import keras
import numpy as np
import pytest

from experiments.networks.deep import DEPTHS, Depth, build
from keras_shufflenet import ChannelShuffle
from keras_shufflenet.complexity import complexity

TINY = Depth(stem=(4,), stages=(8,), units=(2,), head=6)


def test_without_additions_it_is_shufflenet_v2():
    # As in ShuffleNetV2(scale=0.5): V2 Table 5.
    totals = complexity(build(DEPTHS["V2 0.5x"]))
    assert (totals.macs, totals.parameters) == (40_476_448, 1_366_792)


def test_50_layers_have_the_papers_multiply_adds():
    # V2 Table 6: 2.3 billion.
    assert complexity(build(DEPTHS["V2-50"])).macs / 1e9 == pytest.approx(2.3, abs=0.05)


@pytest.mark.slow  # 133 million random numbers
def test_164_layers_have_about_the_papers_multiply_adds():
    # V2 Table 6: 12.7 billion, with SE and residual connections.
    macs = complexity(build(DEPTHS["V2-164"], residual=True, se=True)).macs
    assert macs / 1e9 == pytest.approx(12.7, rel=0.01)


def build_tiny(**additions):
    return build(TINY, input_shape=(32, 32, 3), classes=3, small_images=True, **additions)


@pytest.mark.parametrize("residual", [False, True])
def test_a_residual_connection_adds_the_half_that_is_computed(residual):
    model = build_tiny(residual=residual)
    # The main path of the second unit gives zeros.
    last = model.get_layer("stage2_unit2_pointwise2_bn")
    last.set_weights([np.zeros(4), np.zeros(4), np.zeros(4), np.ones(4)])
    outputs = [model.get_layer(f"stage2_unit{unit}_shuffle").output for unit in (1, 2)]
    images = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    before, after = (y.numpy() for y in keras.Model(model.input, outputs)(images))
    passed, computed = before[..., :4], before[..., 4:] * residual
    expected = ChannelShuffle(2)(np.concatenate([passed, computed], axis=-1)).numpy()
    assert np.array_equal(after, expected)
    assert np.abs(computed).max() > 0 or not residual


def test_se_is_in_every_unit_with_as_many_neurons_as_the_main_path_has_channels():
    plain, excited = build_tiny(), build_tiny(se=True)
    # Two dense layers of 4 by 4 with biases, in each of two units.
    more = complexity(excited).parameters - complexity(plain).parameters
    assert more == 2 * 2 * (4 * 4 + 4)
