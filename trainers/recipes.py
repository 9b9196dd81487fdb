"""Recipes: what to train on, with what network and how, as data.

A recipe is a function of the batch size, because the learning rate is: it grows linearly
with the batch (Goyal et al., 2017), so that a recipe keeps its result when the batch changes.
"""

from collections.abc import Callable, Mapping
from typing import Any

from trainers.cli import UserError
from trainers.config import TrainConfig


def digits(batch_size: int = 64) -> dict[str, Any]:
    """The 1,797 real 8x8 digits of scikit-learn, offline.

    python -m trainers.train --recipe=digits --workdir=/tmp/digits

    Test accuracy 100.0% with seed 0, 99.4% with seed 1 (360 images); 49 s of training on 2 cores.
    """
    return {
        "dataset": "digits",
        "model": "shufflenet_v2",
        "scale": 0.5,
        "small_images": True,
        "input_size": 32,
        "resize_size": 32,
        # A mirrored digit is another sign, or none; a pixel of the original is 4 here.
        "crop": "pad",
        "crop_padding": 4,
        "flip": False,
        "epochs": 15,
        "batch_size": batch_size,
        "learning_rate": 0.1 * batch_size / 64,
        "warmup_epochs": 2,
        "weight_decay": 5e-4,
        "label_smoothing": 0.1,
    }


def cifar10(batch_size: int = 128) -> dict[str, Any]:
    """CIFAR-10 (TFDS downloads it; or --dataset=folder --data_dir=… for a folder of it).

    python -m trainers.train --recipe=cifar10 --workdir=/tmp/cifar10

    Not trained here with this very code; a prototype of this recipe, with dropout 0.2 before
    the classifier, gave 85.1% after 20 epochs of 76 s on 2 cores.
    """
    return {
        "dataset": "cifar10",
        "model": "shufflenet_v2",
        "scale": 0.5,
        "small_images": True,
        "input_size": 32,
        "resize_size": 32,
        "crop": "pad",
        "crop_padding": 4,
        "flip": True,
        "epochs": 20,
        "batch_size": batch_size,
        "learning_rate": 0.2 * batch_size / 128,
        "warmup_epochs": 2,
        "weight_decay": 5e-4,
        "label_smoothing": 0.1,
    }


def folder(batch_size: int = 64) -> dict[str, Any]:
    """Your own photographs, in ROOT/train/CLASS/*.jpg and ROOT/test/CLASS/*.jpg.

    python -m trainers.train --recipe=folder --data_dir=ROOT --workdir=/tmp/mine

    A place to start from, with the papers' input size; what it gives depends on the images.
    """
    return {
        "dataset": "folder",
        "model": "shufflenet_v2",
        "scale": 1.0,
        "input_size": 224,
        "resize_size": 256,
        "crop": "resized",
        "crop_min_area": 0.25,
        "flip": True,
        "epochs": 30,
        "batch_size": batch_size,
        "learning_rate": 0.5 * batch_size / 1024,
        "warmup_epochs": 2,
        "weight_decay": 4e-5,
        "label_smoothing": 0.1,
    }


RECIPES: dict[str, Callable[..., dict[str, Any]]] = {
    "digits": digits,
    "cifar10": cifar10,
    "folder": folder,
}


def make_config(recipe: str, workdir: str, overrides: Mapping[str, Any]) -> TrainConfig:
    """Returns the recipe's values with the overrides in their place.

    Args:
      recipe: a key of `RECIPES`.
      workdir: folder of the run's results.
      overrides: values by name of `TrainConfig`; a batch size also moves the learning rate.

    Raises:
      UserError: no such recipe, or a value that is not allowed, by name.

    Example:
      >>> make_config("digits", "/tmp/digits", {"batch_size": 32}).learning_rate
      0.05
    """
    if recipe not in RECIPES:
        raise UserError(f"unknown recipe {recipe!r}; --recipe is one of {', '.join(RECIPES)}")
    values = RECIPES[recipe]()
    if "batch_size" in overrides:
        values = RECIPES[recipe](overrides["batch_size"])
    try:
        return TrainConfig(**{"recipe": recipe, "workdir": workdir, **values, **overrides})
    except ValueError as error:
        raise UserError(f"--{error}") from None
