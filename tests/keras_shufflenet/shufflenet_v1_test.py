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


def test_table_is_the_papers_table_1_scaled():
    assert set(VARIANTS) == {(scale, groups) for scale in SCALES for groups in GROUPS}
    for (scale, groups), variant in VARIANTS.items():
        first = TABLE_1[groups] * scale
        assert variant.stages == (first, 2 * first, 4 * first)
    stems = {0.25: 12, 0.5: 12, 1.0: 24, 1.5: 24, 2.0: 48}
    exceptions = {(0.25, 8): 8, (0.5, 8): 16}
    for (scale, groups), variant in VARIANTS.items():
        assert variant.stem == exceptions.get((scale, groups), stems[scale])


def test_shallow_network_has_half_of_the_units():
    model = ShuffleNetV1(0.5, 3, units_per_stage=SHALLOW_UNITS)
    counted = complexity(model)

    assert sum("unit" in layer.name for layer in model.layers) == 8
    # 26 layers as the paper says: the stem, three in each of 8 units, the classifier.
    counted_layers = [row for row in counted.rows if row.macs]
    assert len(counted_layers) == 26


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
