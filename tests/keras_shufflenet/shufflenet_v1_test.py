import keras
import numpy as np
import pytest

from keras_shufflenet import ShuffleNetV1
from keras_shufflenet.complexity import complexity
from keras_shufflenet.shufflenet_v1 import SHALLOW_UNITS, VARIANTS

SCALES = (0.25, 0.5, 1.0, 1.5, 2.0)
GROUPS = (1, 2, 3, 4, 8)
# Table 1, Stage2's output channels by groups; each later stage has twice as many.
TABLE_1 = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}


def counted_by_hand(groups, stem, stages, units=(4, 8, 4), classes=1000, se=False):
    """Multiply-adds by the formulas of the paper's Figure 2 and Table 1, from no code of ours."""
    size = 112
    macs = size * size * 3 * 9 * stem
    size = 56
    channels = stem
    for stage, (filters, repeats) in enumerate(zip(stages, units, strict=True)):
        # A quarter, to the nearest multiple of the groups, a tie upwards.
        bottleneck = groups * int(np.floor(filters / 4 / groups + 0.5))
        for unit in range(repeats):
            first_groups = 1 if stage == unit == 0 else groups
            macs += size * size * channels * bottleneck // first_groups
            expanded = filters
            if unit == 0:
                size //= 2
                expanded = filters - channels
            macs += size * size * (9 * bottleneck + bottleneck * expanded // groups)
            macs += 2 * filters * (filters // 16) if se else 0
            channels = filters
    return macs + channels * classes


def test_table_is_the_papers_table_1_scaled():
    assert set(VARIANTS) == {(scale, groups) for scale in SCALES for groups in GROUPS}
    for (scale, groups), variant in VARIANTS.items():
        first = TABLE_1[groups] * scale
        assert variant.stages == (first, 2 * first, 4 * first)
    stems = {0.25: 12, 0.5: 12, 1.0: 24, 1.5: 24, 2.0: 48}
    exceptions = {(0.25, 8): 8, (0.5, 8): 16}
    for (scale, groups), variant in VARIANTS.items():
        assert variant.stem == exceptions.get((scale, groups), stems[scale])


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("scale", SCALES)
def test_multiply_adds(scale, groups):
    model = ShuffleNetV1(scale, groups)
    counted = complexity(model)

    assert counted.macs == counted_by_hand(groups, *VARIANTS[scale, groups])
    moving = [w for w in model.weights if w.name.startswith("moving_")]
    assert counted.parameters == model.count_params() - sum(w.shape[0] for w in moving)
    assert model.input_shape == (None, 224, 224, 3)
    assert model.output_shape == (None, 1000)
    last = model.get_layer("stage4_unit4").output.shape
    assert last == (None, 7, 7, VARIANTS[scale, groups].stages[-1])


def hand_count(scale, groups, **options):
    return counted_by_hand(groups, *VARIANTS[scale, groups], **options)


def test_papers_figures_at_1x_are_without_the_classifier():
    printed = {1: 143, 2: 140, 3: 137, 4: 133, 8: 137}
    for groups, millions in printed.items():
        macs = hand_count(1.0, groups, classes=0)
        assert round(macs / 1e6) == millions, groups
    # With it, as `complexity` counts, three of the five are a million above.
    deviations = {g: round(hand_count(1.0, g) / 1e6) - m for g, m in printed.items()}
    assert deviations == {1: 0, 2: 1, 3: 0, 4: 1, 8: 1}


def test_papers_figures_at_1_5x_and_2x_are_with_the_classifier():
    assert round(hand_count(1.5, 3) / 1e6) == 292
    assert round(hand_count(2.0, 3) / 1e6) == 524
    assert round(hand_count(2.0, 3, se=True) / 1e6) == 527


@pytest.mark.parametrize(("scale", "millions"), [(0.25, 13), (0.5, 38)])
def test_papers_figures_of_the_small_scales_within_3_percent(scale, millions):
    deviations = {g: hand_count(scale, g) / (millions * 1e6) - 1 for g in GROUPS}
    eight_groups = deviations.pop(8)

    assert max(map(abs, deviations.values())) < 0.03
    assert eight_groups == pytest.approx({0.25: -0.044, 0.5: 0.065}[scale], abs=5e-4)


def test_squeeze_excite_counts():
    counted = complexity(ShuffleNetV1(2.0, 3, se=True))

    assert counted.macs == hand_count(2.0, 3, se=True)


def test_shallow_network_has_half_of_the_units():
    model = ShuffleNetV1(0.5, 3, units_per_stage=SHALLOW_UNITS)
    counted = complexity(model)

    assert sum("unit" in layer.name for layer in model.layers) == 8
    # 26 layers as the paper says: the stem, three in each of 8 units, the classifier.
    counted_layers = [row for row in counted.rows if row.macs]
    assert len(counted_layers) == 26
    assert counted.macs == hand_count(0.5, 3, units=(2, 4, 2)) == 21_584_496


def test_only_stage2s_first_compression_is_ungrouped():
    model = ShuffleNetV1(0.5, 4, input_shape=(32, 32, 3))
    units = [layer for layer in model.layers if "unit" in layer.name]

    assert [unit.compress.groups for unit in units] == [1] + [4] * 15
    assert [unit.expand.groups for unit in units] == [4] * 16


def test_without_shuffle_the_weights_are_the_same():
    with_shuffle = ShuffleNetV1(0.25, 2, input_shape=(32, 32, 3))
    without = ShuffleNetV1(0.25, 2, input_shape=(32, 32, 3), shuffle=False)
    without.set_weights(with_shuffle.get_weights())
    kinds = [row.kind for row in complexity(without).rows]
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")

    assert "ChannelShuffle" not in kinds
    assert [row.kind for row in complexity(with_shuffle).rows].count("ChannelShuffle") == 16
    assert keras.ops.max(keras.ops.abs(with_shuffle(x) - without(x))) > 1e-6


def test_explicit_widths_need_no_scale():
    model = ShuffleNetV1(
        0.3, 5, units_per_stage=(1, 2), stem_channels=5, stage_channels=(20, 40), classes=2
    )

    assert model.get_layer("stem_pool").output.shape == (None, 56, 56, 5)
    assert model.get_layer("stage2_unit1").output.shape == (None, 28, 28, 20)
    assert model.get_layer("stage3_unit2").output.shape == (None, 14, 14, 40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0.75}, r"`scale` must be one of \(0.25, 0.5, 1.0, 1.5, 2.0\).*scale=0.75"),
        ({"groups": 5}, r"`groups` must be one of \(1, 2, 3, 4, 8\).*groups=5"),
        ({"stage_channels": (241, 480, 960)}, r"multiples of groups=3 .*240 or 243.*241"),
        ({"stage_channels": (240, 240, 960)}, r"growing multiples of groups=3.*240 after 240"),
        ({"stem_channels": 23}, r"`stem_channels`.*growing multiples of groups=3.*240 after 23"),
        ({"stem_channels": 240}, r"`stem_channels`.*240 after 240"),
        ({"stem_channels": 3, "stage_channels": (9,), "groups": 0}, r"`groups`.*groups=0"),
        ({"stage_channels": (240, 480)}, r"`units_per_stage` and `stage_channels`"),
        ({"stage_channels": "abc"}, r"`stage_channels`.*'abc'"),
    ],
)
def test_wrong_widths_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ShuffleNetV1(**arguments)
