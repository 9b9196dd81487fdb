import dataclasses
import json
import re
import shlex
import sys

import pytest

from common.cli import UserError
from trainers.config import SETTINGS, TrainConfig

BASE = {"recipe": "digits", "workdir": "w", "dataset": "digits"}


def made(**values):
    return TrainConfig.from_flat({**BASE, **values})


def test_a_saved_config_loads_as_it_was(tmp_path):
    config = made(learning_rate=0.3, steps=7, flip=False, scale=1.5)
    config.save(tmp_path)
    assert TrainConfig.load(tmp_path) == config.replace(workdir=str(tmp_path))


def test_the_file_has_versions_and_command(tmp_path):
    made().save(tmp_path)
    record = json.loads((tmp_path / "config.json").read_text())
    assert set(record) == {"config", "versions", "command"}
    assert set(record["config"]) == {"recipe", "workdir", *SETTINGS}
    assert record["versions"]["tensorflow"].startswith("2.")
    assert record["command"] == shlex.join(sys.orig_argv)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "resnet"),
        ("padding", "valid"),
        ("preprocessing", "caffe"),
        ("crop", "center"),
        ("strategy", "gpu"),
        ("cluster", "yarn"),
        ("pods", 0),
        ("input_size", 31),
        ("batch_size", 0),
        ("epochs", -1.0),
        ("epochs", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("steps", 0),
        ("eval_every", 0),
        ("seed", -1),
        ("devices", 0),
        ("label_smoothing", 1.0),
        ("crop_min_area", 0.0),
        ("resize_size", 100),
        ("crop_share", 0.0),
        ("crop_share", 1.1),
        ("channels", 2),
        ("class_weights", "some"),
        ("stem_channels", 0),
        ("stage_channels", "32,64"),
        ("stage_channels", "32,65,128"),
        ("head_channels", 0),
        ("train_size", 31),
        ("train_size", 257),
        ("train_size_epochs", -1.0),
        ("train_size_epochs", 2.0),
        ("schedule", "step"),
        ("precision", "float16"),
        ("color_jitter", 1.0),
        ("random_erasing", 1.5),
        ("mixup", -0.1),
        ("cutmix", float("inf")),
        ("repeated_augmentation", 0),
        ("repeated_augmentation", 3),
        ("ema_decay", 1.0),
        ("batch_norm_steps", -1),
        ("temperature", 0.0),
        ("distill_weight", 0.0),
        ("distill_weight", float("nan")),
        ("checkpoint_minutes", -1.0),
        ("groups", 3),
        ("seed", 99999999999),
        ("steps", 10**18),
        ("epochs", 1e300),
        ("learning_rate", 1e300),
        ("batch_size", 10**9),
        ("input_size", 100_000),
        ("temperature", float("inf")),
        ("dataset", ""),
        ("dataset", "../mine"),
        ("model", 5),
        ("weights", 5),
    ],
)
def test_a_wrong_value_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name} .*{re.escape(str(value))}"):
        made(**{name: value})


@pytest.mark.parametrize("split", ["train[5:2]", "train[50%:50%]", "test+train[90%:10%]", " "])
@pytest.mark.parametrize("name", ["train_split", "eval_split"])
def test_an_empty_slice_is_refused(name, split):
    with pytest.raises(ValueError, match=f"^{name} must"):
        made(**{name: split})


@pytest.mark.parametrize("split", ["train[:90%]", "train[90%:]", "train[-5:]", "train[1:2]+test"])
def test_a_slice_of_images_is_accepted(split):
    assert made(train_split=split).data.train_split == split


def test_choices_are_named():
    with pytest.raises(ValueError, match=r"shufflenet_v1, .* or a \.keras file, got 'resnet'"):
        made(model="resnet")


@pytest.mark.parametrize(
    ("model", "values"),
    [
        ("mobilenet_v2", {"padding": "symmetric"}),
        ("shufflenet_v2", {"size": "small"}),
        ("shufflenet_v2_plus", {"scale": 0.5}),
        ("shufflenet_v2_plus", {"scale": 1.0, "convention": "megvii"}),
        ("net.keras", {"convention": "megvii"}),
        ("net.keras", {"precision": "mixed_float16"}),
    ],
)
def test_what_other_networks_do_not_have_is_refused(model, values):
    *_, name = values
    with pytest.raises(ValueError, match=f"^{name} .*{values[name]}"):
        made(model=model, **values)


def test_padding_must_leave_something_to_reflect():
    with pytest.raises(ValueError, match="crop_padding must be below the training size"):
        made(crop="pad", crop_padding=32, input_size=32, resize_size=32)
    sizes = {"input_size": 32, "resize_size": 48, "train_size": 48, "train_size_epochs": 1.0}
    with pytest.raises(ValueError, match=r"crop_padding must be below the training size \(32\)"):
        made(crop="pad", crop_padding=32, **sizes)


def test_the_first_epochs_may_have_another_size():
    sizes = {"input_size": 40, "resize_size": 50, "train_size": 32}
    config = made(**sizes, train_size_epochs=2.0)
    images = config.images
    assert (images.training_size, images.training_resize_size) == (32, 40)
    grown = images.grown()
    assert (grown.training_size, grown.training_resize_size) == (40, 50)
    assert dataclasses.replace(config, images=grown).differences(config) == [
        "train_size: None → 32",
        "train_size_epochs: None → 2.0",
    ]
    always = made(**sizes).images
    assert always.grown() == always


def test_the_crop_follows_the_size():
    images = made(input_size=96).images
    assert (images.crop_share, images.resize_size) == (0.875, 110)
    assert made().images.resize_size == 256


def test_a_run_with_a_resize_size_has_its_share(tmp_path):
    config = made(crop_share=224 / 232)
    config.save(tmp_path)
    record = json.loads((tmp_path / "config.json").read_text())
    del record["config"]["crop_share"]
    record["config"]["resize_size"] = 232
    (tmp_path / "config.json").write_text(json.dumps(record))
    loaded = TrainConfig.load(tmp_path)
    assert loaded.differences(config) == []
    assert loaded.images.resize_size == 232


@pytest.mark.parametrize("model", ["shufflenet_v1", "mobilenet_v2"])
def test_widths_are_v2s(model):
    with pytest.raises(ValueError, match=r"^stem_channels is for model=shufflenet_v2 only, got 8"):
        made(model=model, stem_channels=8)


def test_a_stem_is_whitened_only_without_loaded_weights():
    with pytest.raises(ValueError, match=r"^whiten_stem must be off .*'model\.keras'"):
        made(weights="model.keras", whiten_stem=True)


def test_a_folder_needs_its_root():
    with pytest.raises(ValueError, match="data_dir"):
        TrainConfig.from_flat({**BASE, "dataset": "folder"})


def test_differences_name_what_changed_but_not_the_place():
    first = made()
    second = first.replace(workdir="elsewhere", batch_size=16, seed=3)
    assert first.differences(second) == ["batch_size: 32 → 16", "seed: 0 → 3"]


def test_a_folder_without_a_training_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"not a training folder.*config\.json"):
        TrainConfig.load(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"config": {"nonsense": 1}}', '{"config": {}}']
)
def test_a_damaged_file_is_refused_by_name(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        TrainConfig.load(tmp_path)


def test_where_a_run_continues_is_not_a_difference():
    config = made()
    elsewhere = {"strategy": "multiworker", "devices": 4, "cluster": "slurm", "tpu": "name"}
    assert config.differences(config.replace(**elsewhere)) == []
    assert config.differences(config.replace(seed=1)) == ["seed: 0 → 1"]


def test_a_run_may_continue_elsewhere_and_with_its_data_elsewhere():
    config = made(data_dir="old")
    moved = config.moved_to(made(data_dir="new", seed=1, strategy="mirrored", devices=4))
    assert (moved.data.data_dir, moved.placement.devices) == ("new", 4)
    # Two trainings in different folders are not the same otherwise.
    assert config.differences(moved) == ["data_dir: old → new"]
