import pytest

from experiments.networks.detectors import BACKBONES, TOLERANCE, build
from keras_shufflenet import ShuffleNetDetector, ShuffleNetV2, detector_strides, features
from keras_shufflenet.complexity import complexity

pytestmark = pytest.mark.medium

SHAPE = (224, 224, 3)


def test_backbones_have_the_multiply_adds_of_v2():
    whole = features(ShuffleNetV2(0.5, input_shape=SHAPE, include_top=False))
    expected = complexity(whole).macs
    for name, backbone in BACKBONES.items():
        maps = backbone.maps(input_shape=SHAPE)
        assert abs(complexity(maps).macs / expected - 1) <= TOLERANCE == 0.01, name
        assert [x.shape[1] for x in maps.outputs] == [28, 14, 7], name
    assert complexity(BACKBONES["v2"].maps(input_shape=SHAPE)).macs == expected


def test_v2_is_the_packages_detector():
    mine = build("v2", (64, 64, 3), classes=3)
    theirs = ShuffleNetDetector(0.5, 3, input_shape=(64, 64, 3))
    assert [w.path for w in mine.weights] == [w.path for w in theirs.weights]
    assert [w.shape for w in mine.weights] == [w.shape for w in theirs.weights]


def test_another_familys_backbone_gets_the_same_head():
    model = build("mobilenet-v2", (64, 64, 3), classes=2)
    assert model.output_shape == (None, 64 + 16 + 4, 4 + 2)
    assert detector_strides(model) == (8, 16, 32)
    assert model.get_layer("head8_pointwise").filters == 64
