import dataclasses
import re

import pytest

from trainers.cli import UserError
from trainers.config import TrainConfig
from trainers.recipes import RECIPES, make_config


def overrides_of(recipe):
    return {"data_dir": "images"} if recipe == "folder" else {}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_makes_a_config(recipe):
    config = make_config(recipe, "w", overrides_of(recipe))
    assert (config.recipe, config.workdir) == (recipe, "w")


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_tells_its_command(recipe):
    assert f"python -m trainers.train --recipe={recipe} " in RECIPES[recipe].__doc__


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_learning_rate_follows_the_batch(recipe):
    more = overrides_of(recipe)
    one = make_config(recipe, "w", {**more, "batch_size": 40})
    two = make_config(recipe, "w", {**more, "batch_size": 80})
    assert two.learning_rate == pytest.approx(2 * one.learning_rate, rel=1e-12)
    assert (one.batch_size, two.batch_size) == (40, 80)


def test_a_learning_rate_that_was_asked_for_stays():
    config = make_config("digits", "w", {"batch_size": 16, "learning_rate": 0.7})
    assert config.learning_rate == 0.7


def test_digits_are_not_mirrored():
    assert not make_config("digits", "w", {}).flip
    assert make_config("cifar10", "w", {}).flip


def test_an_unknown_recipe_names_the_choices():
    with pytest.raises(UserError, match=r"unknown recipe 'x'; .*digits, cifar10, folder"):
        make_config("x", "w", {})


def test_a_wrong_value_names_its_flag():
    with pytest.raises(UserError, match=r"^--batch_size must be .*got -1"):
        make_config("digits", "w", {"batch_size": -1})


def test_every_value_has_a_flag_that_is_explained(run_cli):
    helped = run_cli("trainers.train", "--help", check=False).stdout
    for field in dataclasses.fields(TrainConfig):
        assert re.search(rf"--(\[no\])?{field.name}:\s+[\w\']", helped), field.name
