import keras
import numpy as np
import pytest

from common.cli import UserError
from keras_shufflenet import ShuffleNetDetector, ShuffleNetV2
from trainers.config import TrainConfig
from trainers.detection.starting_weights import load_detector_weights

SMALL = {"units_per_stage": (1, 1, 1), "stage_channels": (12, 16, 24), "stem_channels": 8}


def make(classes, seed):
    keras.utils.set_random_seed(seed)
    backbone = ShuffleNetV2(0.5, input_shape=(64, 64, 3), head_channels=8, classes=5, **SMALL)
    return backbone, ShuffleNetDetector(0.5, classes, neck="fused", width=16, backbone=backbone)


def config_of(weights):
    return TrainConfig.from_flat(
        {
            "recipe": "detection",
            "workdir": "w",
            "dataset": "folder",
            "data_dir": "x",
            "task": "detection",
            "weights": str(weights),
        }
    )


def values(model):
    return {weight.path: weight.numpy() for weight in model.weights}


def test_a_detectors_classes_are_taken_over_by_name(tmp_path, capsys):
    _, old = make(2, seed=1)
    old.save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    backbone, new = make(3, seed=2)
    before = values(new)
    names = ("cow", "dog", "cat")
    load_detector_weights(new, backbone, config_of(tmp_path), names)
    theirs, ours = values(old), values(new)
    for path, value in ours.items():
        if not path.startswith("predictions/"):
            np.testing.assert_array_equal(value, theirs[path], err_msg=path)
    kernel, their_kernel = ours["predictions/kernel"], theirs["predictions/kernel"]
    np.testing.assert_array_equal(kernel[..., :4], their_kernel[..., :4])
    np.testing.assert_array_equal(kernel[..., [5, 6]], their_kernel[..., [5, 4]])
    np.testing.assert_array_equal(kernel[..., 4], before["predictions/kernel"][..., 4])
    assert "these classes are new: cow" in capsys.readouterr().out


def test_a_classifiers_backbone_is_taken_over(tmp_path, capsys):
    old, _ = make(2, seed=1)
    old.save(tmp_path / "model.keras")
    backbone, new = make(3, seed=2)
    before = values(new)
    load_detector_weights(new, backbone, config_of(tmp_path / "model.keras"), ("a", "b", "c"))
    theirs, taken = values(old), 0
    for path, value in values(new).items():
        is_backbone = path.startswith(("stem", "stage"))
        taken += is_backbone
        wanted = theirs[path] if is_backbone else before[path]
        np.testing.assert_array_equal(value, wanted, err_msg=path)
    assert taken > 50
    assert "neck and head start from random ones" in capsys.readouterr().out


def test_a_detector_with_more_levels_or_another_neck_is_refused(tmp_path):
    backbone, _ = make(2, seed=1)
    ShuffleNetDetector(0.5, 2, neck="pan", width=16, backbone=backbone).save(
        tmp_path / "model.keras"
    )
    new = ShuffleNetDetector(0.5, 2, neck="fpn", width=16, backbone=backbone)
    with pytest.raises(UserError, match=r"another detector: it has \d+ weights more.*--neck"):
        load_detector_weights(new, backbone, config_of(tmp_path), ("a", "b"))


def test_another_network_is_named(tmp_path):
    _, old = make(2, seed=1)
    old.save(tmp_path / "model.keras")
    backbone, _ = make(2, seed=2)
    wider = ShuffleNetDetector(0.5, 2, neck="fused", width=24, backbone=backbone)
    with pytest.raises(UserError, match=r"is from another network: .*--neck"):
        load_detector_weights(wider, backbone, config_of(tmp_path), ("a", "b"))
