import itertools

import numpy as np
import pytest

from common.cli import UserError
from experiments.networks.structures import (
    COMPLEXITIES,
    STRUCTURES,
    TOLERANCE,
    GroupedConv2D,
    Widths,
    build,
    count,
    solve,
)
from keras_shufflenet.complexity import complexity

pytestmark = pytest.mark.medium


@pytest.mark.parametrize(("name", "millions"), list(itertools.product(STRUCTURES, COMPLEXITIES)))
def test_widths_are_solved_to_within_a_hundredth(name, millions):
    widths = solve(name, millions)
    assert abs(count(name, widths) / (millions * 1e6) - 1) <= TOLERANCE == 0.01
    assert widths.stem <= 24 and list(widths.stages) == sorted(set(widths.stages))
    groups = STRUCTURES[name].groups or 1
    assert all(width % groups == 0 for width in (widths.stem, *widths.stages))


@pytest.mark.parametrize(
    ("name", "channels"),
    [("VGG-like", 50), ("ResNet", 192), ("ResNeXt", 192), ("Xception-like", 288)],
)
def test_stage4_is_as_wide_as_the_paper_says(name, channels):
    # V1, section 4.2, at 38 million. ResNeXt's widths depend on how bottlenecks are rounded.
    assert solve(name, 38).stages[-1] == pytest.approx(channels, rel=0.025)


def test_multiply_adds_by_hand():
    # VGG-like 2/4/8 with a stem of 3: stem, classifier, then each stage's first and other units.
    stem, classifier = 112 * 112 * 27 * 3, 8 * 1000
    stage2 = 28 * 28 * 9 * (3 * 2 + 2 * 2 * 7)
    stage3 = 14 * 14 * 9 * (2 * 4 + 4 * 4 * 15)
    stage4 = 7 * 7 * 9 * (4 * 8 + 8 * 8 * 7)
    expected = stem + classifier + stage2 + stage3 + stage4
    assert count("VGG-like", Widths(3, (2, 4, 8))) == expected


@pytest.mark.parametrize(
    "name",
    [
        "ResNeXt",
        "ShuffleNet g=8",
        # These two consist of the same parts as those above.
        pytest.param("ResNet", marks=pytest.mark.slow),
        pytest.param("Xception-like", marks=pytest.mark.slow),
    ],
)
def test_the_network_has_the_multiply_adds_that_were_counted(name):
    widths = solve(name, 13)
    model = build(name, widths)
    assert complexity(model).macs == count(name, widths)
    assert model.output_shape == (None, 1000)


def test_small_images_keep_their_size_in_the_stem():
    widths = solve("VGG-like", 13)
    model = build("VGG-like", widths, (32, 32, 3), classes=10, small_images=True)
    assert model.get_layer("stem_relu").output.shape == (None, 32, 32, 12)
    first = model.get_layer("stage2_unit1_conv2_relu")
    assert first.output.shape == (None, 16, 16, widths.stages[0])
    assert model.output_shape == (None, 10)


@pytest.mark.parametrize(("name", "millions"), [("ResNet", 1), ("VGG-like", 4.2)])
def test_an_impossible_complexity_is_refused(name, millions):
    with pytest.raises(UserError, match=rf"{name} cannot have {millions} million .* narrowest"):
        solve(name, millions)


def test_a_grouped_convolution_is_the_same_in_training():
    layer = GroupedConv2D(8, 3, 2, padding="same", groups=4, use_bias=False)
    x = np.random.default_rng(0).normal(size=(2, 9, 9, 12)).astype("float32")
    plain = layer(x)
    assert np.abs(layer(x, training=True) - plain).max() < 1e-6
    assert np.abs(plain).max() > 0.1
