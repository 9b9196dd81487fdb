import keras
import pytest

from keras_shufflenet import ShuffleNetV2
from keras_shufflenet.complexity import complexity
from keras_shufflenet.shufflenet_v2 import VARIANTS

PARAMETERS = {0.5: 1_366_792, 1.0: 2_278_604, 1.5: 3_503_624, 2.0: 7_393_996}
PAPERS_MILLIONS = {0.5: 41, 1.0: 146, 1.5: 299, 2.0: 591}
# As the docstring says.
MULTIPLY_ADDS = {0.5: 40_476_448, 1.0: 144_907_992, 1.5: 295_759_392, 2.0: 583_253_464}


def counted_by_hand(stem, stages, head, classes=1000, size=224, units=(4, 8, 4)):
    """Multiply-adds by the formulas of the paper's Figure 3 and Table 5, from no code of ours."""
    size //= 2
    macs = size * size * 3 * 9 * stem
    size //= 2
    channels = stem
    for filters, repeats in zip(stages, units, strict=True):
        half = filters // 2
        # Stride 2, main path: the first 1x1 sees the large map. Shortcut: depthwise, then 1x1.
        macs += size * size * channels * half
        size //= 2
        macs += size * size * (9 * half + half * half)
        macs += size * size * (9 * channels + channels * half)
        macs += (repeats - 1) * size * size * (2 * half * half + 9 * half)
        channels = filters
    return macs + size * size * channels * head + head * classes


@pytest.mark.parametrize("scale", list(PARAMETERS))
def test_parameters_and_multiply_adds(scale):
    model = ShuffleNetV2(scale)
    counted = complexity(model)
    paper = PAPERS_MILLIONS[scale] * 1e6

    assert counted.parameters == PARAMETERS[scale]
    assert (
        model.count_params() - sum(w.shape[0] for w in moving_statistics(model))
        == (PARAMETERS[scale])
    )
    assert counted.macs == counted_by_hand(*VARIANTS[scale]) == MULTIPLY_ADDS[scale]
    assert -0.0145 < counted.macs / paper - 1 < 0
    assert model.input_shape == (None, 224, 224, 3)
    assert model.output_shape == (None, 1000)


def moving_statistics(model):
    return [weight for weight in model.weights if weight.name.startswith("moving_")]


def test_widths_of_the_table():
    model = ShuffleNetV2(1.5)

    assert model.get_layer("stem_pool").output.shape == (None, 56, 56, 24)
    for stage, (units, size, channels) in enumerate([(4, 28, 176), (8, 14, 352), (4, 7, 704)], 2):
        for unit in range(1, units + 1):
            layer = model.get_layer(f"stage{stage}_unit{unit}")
            assert layer.output.shape == (None, size, size, channels)
            assert layer.stride == (2 if unit == 1 else 1)
    assert model.get_layer("head_relu").output.shape == (None, 7, 7, 1024)


def test_explicit_widths_need_no_scale():
    model = ShuffleNetV2(
        scale=0.3,
        units_per_stage=(2, 1),
        stem_channels=8,
        stage_channels=[16, 30],
        head_channels=20,
        input_shape=(32, 32, 1),
        classes=2,
    )

    assert model.get_layer("stem_conv").output.shape == (None, 16, 16, 8)
    assert model.get_layer("stage2_unit2").output.shape == (None, 4, 4, 16)
    assert model.get_layer("stage3_unit1").output.shape == (None, 2, 2, 30)
    assert model.get_layer("head_conv").output.shape == (None, 2, 2, 20)


def test_one_explicit_width_leaves_the_others_to_the_scale():
    model = ShuffleNetV2(0.5, head_channels=64, input_shape=(32, 32, 3))

    assert model.get_layer("stage4_unit4").output.shape[-1] == 192
    assert model.get_layer("head_conv").output.shape[-1] == 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0.75}, r"`scale` must be one of \(0.5, 1.0, 1.5, 2.0\).*scale=0.75"),
        ({"scale": 0.75, "head_channels": 8}, r"`scale`.*scale=0.75"),
        ({"stage_channels": (48, 97, 192)}, r"`stage_channels` must be even.*96 or 98.*97"),
        ({"stage_channels": (48, 96)}, r"`units_per_stage` and `stage_channels`.*\(48, 96\)"),
        ({"stage_channels": (48, 96, -2)}, r"`stage_channels\[2\]`.*-2"),
        ({"stage_channels": 48}, r"`stage_channels`.*48"),
        ({"units_per_stage": (4, 0, 4)}, r"`units_per_stage\[1\]`.*0"),
        ({"units_per_stage": None}, r"`units_per_stage`.*None"),
        ({"units_per_stage": ()}, r"`units_per_stage`.*\(\)"),
        ({"stem_channels": 0}, r"`stem_channels`.*0"),
        ({"stem_channels": (24,)}, r"`stem_channels`.*\(24,\)"),
        ({"head_channels": 10.0}, r"`head_channels`.*10.0"),
    ],
)
def test_wrong_widths_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ShuffleNetV2(**arguments)


def test_layers_are_called_as_checkpoints_know_them():
    names = [layer.name for layer in ShuffleNetV2(0.5, padding="symmetric").layers]

    assert names[1:8] == [
        "stem_pad",
        "stem_conv",
        "stem_bn",
        "stem_relu",
        "stem_pool_pad",
        "stem_pool",
        "stage2_unit1",
    ]
    assert names[-6:] == [
        "stage4_unit4",
        "head_conv",
        "head_bn",
        "head_relu",
        "global_pool",
        "predictions",
    ]
    assert ShuffleNetV2(0.5).name == "shufflenet_v2"
    assert ShuffleNetV2(0.5, name="mine").name == "mine"


def test_data_type_policy_is_keras_own():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = ShuffleNetV2(0.5, input_shape=(32, 32, 3))
    finally:
        keras.config.set_dtype_policy("float32")

    assert model.output.dtype == "float16"
    assert {weight.dtype for weight in model.weights} == {"float32"}
