import pytest

from keras_shufflenet import ShuffleNetV2


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


def test_v2_star_begins_each_unit_with_another_depthwise_convolution():
    plain = ShuffleNetV2(0.5, input_shape=(32, 32, 3))
    star = ShuffleNetV2(0.5, input_shape=(32, 32, 3), first_depthwise=True)
    new = {w.path: w.shape for w in star.weights} | {w.path: None for w in plain.weights}
    kernels = {path: shape for path, shape in new.items() if shape and path.endswith("kernel")}
    assert len(kernels) == 16 and all("/depthwise0/" in path for path in kernels)
    assert kernels["stage2_unit1/depthwise0/kernel"] == (3, 3, 24, 1)
    assert kernels["stage3_unit2/depthwise0/kernel"] == (3, 3, 48, 1)
    first, *_ = star.get_layer("stage3_unit1").main_path()
    assert (first.strides, first.kernel_size) == ((1, 1), (3, 3))
    assert star.output_shape == plain.output_shape


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
    assert ShuffleNetV2(0.5, units_per_stage=(1, 1, 1)).name == "shufflenet_v2"
    assert ShuffleNetV2(0.5, units_per_stage=(1, 1, 1), name="mine").name == "mine"
