import re

import keras
import numpy as np
import pytest

from keras_shufflenet import (
    ShuffleNetDetector,
    ShuffleNetV1,
    ShuffleNetV2,
    detector_strides,
    load_model,
)
from keras_shufflenet.complexity import complexity
from keras_shufflenet.detector import detector_on_maps

SHAPE = (64, 96, 3)
# A small backbone, because building takes most of the time.
SMALL = {"units_per_stage": (1, 1, 1), "input_shape": SHAPE, "include_top": False}


def small_v2(**arguments):
    return ShuffleNetV2(stage_channels=(12, 16, 24), stem_channels=8, **{**SMALL, **arguments})


def points(strides):
    return sum((SHAPE[0] // stride) * (SHAPE[1] // stride) for stride in strides)


@pytest.mark.parametrize(
    ("neck", "strides", "found"),
    [
        ("pan", None, (8, 16, 32)),
        ("pan", (8, 16), (8, 16)),
        ("pan", (16, 32), (16, 32)),
        ("fpn", None, (8, 16, 32)),
        ("fpn", (16,), (16,)),
        ("fused", None, (16,)),
    ],
)
def test_every_point_has_four_sides_and_its_classes(neck, strides, found):
    model = ShuffleNetDetector(backbone=small_v2(), neck=neck, strides=strides, classes=5, width=16)
    assert model.output_shape == (None, points(found), 4 + 5)
    assert detector_strides(model) == found
    output = np.asarray(model(np.zeros((2, *SHAPE), np.float32)))
    # At the start, almost nothing is an object, and a box is 4 strides wide (exp(0) = 1).
    assert np.abs(output[..., :4]).max() < 0.5
    assert (output[..., 4:] < -3).all()


def test_points_are_in_the_order_of_levels_then_rows():
    model = ShuffleNetDetector(backbone=small_v2(), strides=(8, 16), width=16)
    image = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)
    output = np.asarray(model(image))[0]
    predict = model.get_layer("predictions")
    start = 0
    for stride in (8, 16):
        head = keras.Model(model.input, model.get_layer(f"head{stride}_pointwise_relu").output)
        cells = np.asarray(predict(head(image)))[0]
        assert cells.shape[:2] == (SHAPE[0] // stride, SHAPE[1] // stride)
        for row, column in ((0, 1), (1, 0), (3, 2)):
            point = start + row * (SHAPE[1] // stride) + column
            np.testing.assert_allclose(output[point], cells[row, column], rtol=1e-5, atol=1e-6)
        start += cells.shape[0] * cells.shape[1]


BACKBONES = {
    "megvii": lambda: small_v2(convention="megvii", padding="symmetric", preprocessing="torch"),
    "with a top": lambda: small_v2(include_top=True, classes=7),
    "v1": lambda: ShuffleNetV1(0.25, 3, **SMALL),
}


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_backbone_keeps_its_weights_and_settings(kind):
    backbone = BACKBONES[kind]()
    model = ShuffleNetDetector(backbone=backbone, width=16)
    assert model.get_layer("stage2_unit1") is backbone.get_layer("stage2_unit1")
    names = {layer.name for layer in model.layers}
    assert not names & {"head_conv", "global_pool"}
    assert model.output_shape == (None, points((8, 16, 32)), 4 + 3)


def test_any_backbones_maps_can_have_the_head():
    image = x = keras.Input(SHAPE)
    maps = []
    for channels in (4, 6, 8, 10, 12):
        x = keras.layers.Conv2D(channels, 3, 2, padding="same")(x)
        maps.append(x)
    model = detector_on_maps(image, maps[2:], classes=2, width=16, strides=(8, 16))
    assert model.output_shape == (None, points((8, 16)), 4 + 2)
    assert detector_strides(model) == (8, 16)
    with pytest.raises(ValueError, match=r"stages of stride .* maps of strides"):
        detector_on_maps(image, maps[:3], classes=2, width=16)
    with pytest.raises(ValueError, match="`width` must be a positive integer"):
        detector_on_maps(image, maps[2:], classes=2, width=0)


def test_a_saved_detector_is_the_same(tmp_path):
    arguments = {"width": 16, "classes": 2}
    model = ShuffleNetDetector(backbone=small_v2(), **arguments)
    image = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)
    expected = np.asarray(model(image))
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert detector_strides(loaded) == (8, 16, 32)
    np.testing.assert_array_equal(loaded(image), expected)
    model.save_weights(tmp_path / "model.weights.h5")
    for name in ("model.keras", "model.weights.h5"):
        again = ShuffleNetDetector(backbone=small_v2(), weights=tmp_path / name, **arguments)
        np.testing.assert_array_equal(again(image), expected)
    with pytest.raises(ValueError, match="of another network"):
        ShuffleNetDetector(backbone=small_v2(), weights=tmp_path / "model.keras", width=16)


@pytest.mark.parametrize(
    ("arguments", "macs", "parameters"),
    [
        ({"scale": 0.5}, 91_888_000, 199_975),
        ({"scale": 0.5, "neck": "fused"}, 70_268_800, 176_887),
        ({"scale": 0.5, "strides": (8, 16), "input_shape": (96, 96, 3)}, 8_181_792, 190_119),
    ],
)
def test_complexity_counts_neck_and_head(arguments, macs, parameters):
    found = complexity(ShuffleNetDetector(**arguments))
    assert (found.macs, found.parameters) == (macs, parameters)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"neck": "bifpn"}, "`neck` must be one of .*bifpn"),
        ({"classes": 0}, "`classes` must be a positive integer"),
        ({"strides": (16, 8)}, "`strides` must be .* ascending"),
        ({"strides": (4, 8)}, "`strides` must be a tuple of some of"),
        ({"strides": ()}, "`strides`"),
        ({"neck": "fused", "strides": (8,)}, "of (16,), ascending, with neck='fused'"),
        ({"scale": 0.7}, "`scale` must be one of"),
        ({"input_shape": (100, 96, 3)}, "multiples of 32"),
        ({"input_shape": (None, None, 3)}, "multiples of 32"),
        ({"weights": "imagenet"}, "a classifier's weights are for `backbone`"),
        ({"width": -1}, "`width` must be a positive integer"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message if ".*" in message else re.escape(message)):
        ShuffleNetDetector(**arguments)


def test_a_backbone_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="without small_images"):
        ShuffleNetDetector(backbone=small_v2(small_images=True))
    with pytest.raises(ValueError, match="must equal that of `backbone`"):
        ShuffleNetDetector(backbone=small_v2(), input_shape=(320, 320, 3))
    with pytest.raises(ValueError, match="must be a ShuffleNet of this package"):
        ShuffleNetDetector(backbone=keras.Sequential([keras.Input(SHAPE)]))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        ShuffleNetDetector(weights="missing.keras")
    with pytest.raises(ValueError, match="must be a ShuffleNetDetector"):
        detector_strides(small_v2())
