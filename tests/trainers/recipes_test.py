import re

import numpy as np
import pytest

from common.cli import UserError
from trainers.config import SETTINGS
from trainers.recipes import RECIPES, make_config


def overrides_of(recipe):
    needed = {
        "folder": {"data_dir": "images"},
        "detection": {"data_dir": "boxes"},
        "finetune": {"data_dir": "images", "weights": "model.keras"},
    }
    return needed.get(recipe, {})


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_makes_a_config(recipe):
    config = make_config(recipe, "w", overrides_of(recipe))
    assert (config.recipe, config.workdir) == (recipe, "w")


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_shows_its_command(recipe):
    assert f"shufflenet train --recipe={recipe} " in RECIPES[recipe].__doc__


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_learning_rate_follows_the_batch(recipe):
    more = overrides_of(recipe)
    one = make_config(recipe, "w", {**more, "batch_size": 40}).optimization
    two = make_config(recipe, "w", {**more, "batch_size": 80}).optimization
    if one.steps:  # the same number of images
        assert two.steps == pytest.approx(one.steps / 2, abs=1)
    assert two.learning_rate == pytest.approx(2 * one.learning_rate, rel=1e-12)
    assert (one.batch_size, two.batch_size) == (40, 80)


def test_a_given_learning_rate_is_kept():
    config = make_config("digits", "w", {"batch_size": 16, "learning_rate": 0.7})
    assert config.optimization.learning_rate == 0.7


def test_digits_are_not_mirrored():
    assert not make_config("digits", "w", {}).augmentation.flip
    assert make_config("cifar10", "w", {}).augmentation.flip


def test_the_papers_numbers():
    v1_config = make_config("shufflenet_v1_paper", "w", {})
    v1, images = v1_config.optimization, v1_config.images
    assert (v1.steps, v1.batch_size) == (300_000, 1024)
    assert (v1.learning_rate, v1.schedule, v1.warmup_epochs) == (0.5, "linear", 0)
    assert (v1.weight_decay, v1.nesterov, v1.label_smoothing) == (4e-5, False, 0.0)
    assert (images.input_size, images.resize_size, v1_config.network.groups) == (224, 256, 3)
    v2_config = make_config("shufflenet_v2_paper", "w", {})
    v2 = v2_config.optimization
    assert (v2.steps, v2.batch_size) == (300_000, 1024)
    assert (v2.learning_rate, v2.schedule, v2.warmup_epochs) == (0.5, "linear", 0)
    jitter = v2_config.augmentation.color_jitter
    assert (v2.weight_decay, v2.label_smoothing, jitter) == (4e-5, 0.1, 0.4)
    assert v2.batch_norm_steps == 1250


def test_torchvisions_numbers():
    config = make_config("torchvision_600", "w", {})
    how, images, changed = config.optimization, config.images, config.augmentation
    assert (how.epochs, how.steps, how.batch_size) == (600, None, 8 * 128)
    assert (how.learning_rate, how.schedule, how.warmup_epochs) == (0.5, "cosine", 5)
    assert (how.weight_decay, how.label_smoothing) == (2e-5, 0.1)
    assert (changed.mixup, changed.cutmix, changed.random_erasing) == (0.2, 1.0, 0.1)
    assert (images.train_size, images.input_size, images.resize_size) == (176, 224, 232)
    assert changed.trivial_augment and changed.repeated_augmentation == 4
    # torchvision/references: 0.99998, adjusted to batch and epochs, every 32 steps.
    assert how.ema_decay**32 == pytest.approx(1 - (1 - 0.99998) * 1024 * 32 / 600, rel=1e-12)


def test_a_checkpoints_network_is_taken_over(tmp_path):
    tensors = {
        "stage2.0.branch2.0.weight": np.zeros(()),
        "fc.weight": np.zeros((9, 1024)),
        "conv5.0.weight": np.zeros((1, 464, 1, 1)),
    }
    np.savez(tmp_path / "torchvision.npz", **tensors)
    given = {"weights": str(tmp_path / "torchvision.npz"), "data_dir": "boxes"}
    made = make_config("detection", "w", given)
    network = made.network
    assert (network.scale, network.padding, network.convention) == (1.0, "symmetric", "paper")
    assert made.images.preprocessing == "torch" and made.images.input_size == 256
    assert make_config("detection", "w", {**given, "scale": 2.0}).network.scale == 2.0
    (tmp_path / "torchvision.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"--weights: checkpoint .* is damaged"):
        make_config("detection", "w", given)


def test_epochs_replace_a_recipes_steps():
    for steps, values in ((None, {"epochs": 3}), (5, {"epochs": 3, "steps": 5})):
        config = make_config("shufflenet_v2_paper", "w", values)
        assert config.optimization.steps == steps


def test_fine_tuning_uses_the_network_of_the_workdir(tmp_path):
    values = {"scale": 0.5, "small_images": True, "input_size": 32, "resize_size": 32}
    make_config("cifar10", "w", values).save(tmp_path)
    more = {"data_dir": "images", "weights": str(tmp_path)}
    config = make_config("finetune", "w", more)
    network, images = config.network, config.images
    assert (config.data.dataset, network.weights, network.scale) == ("folder", str(tmp_path), 0.5)
    assert network.small_images and (images.input_size, images.resize_size) == (32, 32)
    assert make_config("finetune", "w", {**more, "crop_share": 0.8}).images.resize_size == 40


def test_fine_tuning_needs_weights():
    with pytest.raises(UserError, match=r"--weights is missing; name the workdir or the file"):
        make_config("finetune", "w", {"data_dir": "images"})


def test_an_unknown_recipe_names_the_choices():
    with pytest.raises(UserError, match=r"unknown recipe 'x'; .*digits, cifar10, .*folder"):
        make_config("x", "w", {})


def test_a_wrong_value_names_its_flag():
    with pytest.raises(UserError, match=r"^--batch_size must be .*got -1"):
        make_config("digits", "w", {"batch_size": -1})


def test_recipes_that_were_not_trained_here_say_so():
    for recipe in ("shufflenet_v1_paper", "shufflenet_v2_paper", "torchvision_600"):
        assert re.search(r"Not trained here\. .*\d\d\.\d", RECIPES[recipe].__doc__, re.DOTALL)


def test_every_value_has_a_flag_that_is_explained(run_cli):
    helped = run_cli("trainers.train", "--help", check=False).stdout
    for name in ("recipe", "workdir", *SETTINGS):
        assert re.search(rf"--(\[no\])?{name}:\s+[\w\']", helped), name
