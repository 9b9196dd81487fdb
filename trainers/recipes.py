"""Recipes: the data, the network and the settings of a training, as data.

A recipe is a function of the batch size, because the learning rate grows linearly with the batch
(Goyal et al., 2017). A recipe therefore gives the same result when the batch size changes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.cli import UserError
from trainers.config import TrainConfig
from trainers.settings import MODEL_SUFFIX, DetectionConfig
from trainers.startup import import_tensorflow


def digits(batch_size: int = 64) -> dict[str, Any]:
    """The 1,797 real 8x8 digits of scikit-learn, offline.

    shufflenet train --recipe=digits --workdir=/tmp/digits

    Test accuracy 99.2% (seed 0, 360 images; README.md has the output).
    """
    return {
        "dataset": "digits",
        "model": "shufflenet_v2",
        "scale": 0.5,
        "small_images": True,
        "input_size": 32,
        "crop_share": 1.0,
        # A mirrored digit is not that digit any more; a pixel of the original is 4 here.
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


def cifar10(batch_size: int = 64) -> dict[str, Any]:
    """CIFAR-10 (TFDS downloads it; or give a folder with --dataset=folder --data_dir=…).

    shufflenet train --recipe=cifar10 --workdir=/tmp/cifar10

    Test accuracy 85.8% (V2 0.5x, seed 0, 10,000 images); docs/benchmarks.md has V1 0.5x g=3 too.
    With --optimizer=muon 86.2%.
    """
    return {
        "dataset": "cifar10",
        "model": "shufflenet_v2",
        "scale": 0.5,
        "small_images": True,
        "input_size": 32,
        "crop_share": 1.0,
        "crop": "pad",
        "crop_padding": 2,
        "flip": True,
        "epochs": 20,
        "batch_size": batch_size,
        "learning_rate": 0.1 * batch_size / 64,
        "warmup_epochs": 2,
        "weight_decay": 5e-4,
        "label_smoothing": 0.1,
    }


def cifar10_40px(batch_size: int = 128) -> dict[str, Any]:
    """CIFAR-10 for the best accuracy in 20 epochs: enlarged to 40 pixels, with Muon.

    shufflenet train --recipe=cifar10_40px --workdir=/tmp/cifar10

    Test accuracy 87.8% with one thread, 88.2% with two (V2 0.5x, seed 0, 10,000 images; int8, V1
    and MobileNetV2 in docs/benchmarks.md). The network is that of `cifar10` with 1.56 times the
    multiply-adds, in training and on the device. The stem's kernels are principal components of
    the images and are not trained.
    """
    return {
        **cifar10(batch_size),
        "input_size": 40,
        # The same share of the image as 2 of 32 pixels, rounded up.
        "crop_padding": 3,
        "warmup_epochs": 1,
        "optimizer": "muon",
        "whiten_stem": True,
        "bias_rate": 32.0,
    }


def cifar10_fast(batch_size: int = 128) -> dict[str, Any]:
    """CIFAR-10 in less time: `cifar10_40px` with fewer epochs, most of them on smaller images.

    shufflenet train --recipe=cifar10_fast --workdir=/tmp/cifar10

    Test accuracy 86.9% and 87.4% (V2 0.5x, seed 0, 10,000 images) on two kinds of CPU;
    docs/benchmarks.md has V1 and MobileNetV2.
    """
    return {
        **cifar10_40px(batch_size),
        "train_size": 32,
        "train_size_epochs": 10.0,
        "epochs": 15,
    }


def folder(batch_size: int = 64) -> dict[str, Any]:
    """Your own photographs, in ROOT/train/CLASS/*.jpg and ROOT/test/CLASS/*.jpg.

    shufflenet train --recipe=folder --data_dir=ROOT --workdir=/tmp/mine

    A starting point, with the papers' input size; the accuracy depends on the images. Without
    ROOT/test, or with ROOT/CLASS/*.jpg, a tenth of the images is held out.
    """
    return {
        "dataset": "folder",
        "model": "shufflenet_v2",
        "scale": 1.0,
        "input_size": 224,
        "crop_share": 0.875,
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


def shufflenet_v1_paper(batch_size: int = 1024) -> dict[str, Any]:
    """ImageNet as in ShuffleNet V1's paper (Section 4): 1x, g=3, 240 epochs.

    shufflenet train --recipe=shufflenet_v1_paper --workdir=/tmp/v1

    Not trained here. The paper's top-1 error: 32.6% (g=8 32.4%, 0.5x 43.2%, 2x 26.3%). The
    authors' public code reaches 32.2% for 1x: it adds --color_jitter=0.4, --label_smoothing=0.1
    and --batch_norm_steps=1250. The paper calls its crop "less aggressive" and gives no number;
    0.25 of the area is our choice.
    """
    return {
        "dataset": "imagenet2012",
        "eval_split": "validation",
        "model": "shufflenet_v1",
        "scale": 1.0,
        "groups": 3,
        "input_size": 224,
        "crop_share": 0.875,
        "crop": "resized",
        "crop_min_area": 0.25,
        "flip": True,
        "steps": round(300_000 * 1024 / batch_size),
        "batch_size": batch_size,
        "learning_rate": 0.5 * batch_size / 1024,
        "schedule": "linear",
        "nesterov": False,
        "weight_decay": 4e-5,
    }


def shufflenet_v2_paper(batch_size: int = 1024) -> dict[str, Any]:
    """ImageNet with the settings of Megvii's public code for ShuffleNet V2: 1x, 240 epochs.

    shufflenet train --recipe=shufflenet_v2_paper --workdir=/tmp/v2

    Not trained here. Megvii's top-1 error: 0.5x 38.9%, 1x 30.6%, 1.5x 27.4%, 2x 25.0%. Pixels are
    normalized here but not there; the stem's BatchNorm compensates for that.
    """
    return {
        "dataset": "imagenet2012",
        "eval_split": "validation",
        "model": "shufflenet_v2",
        "scale": 1.0,
        "input_size": 224,
        "crop_share": 0.875,
        "crop": "resized",
        "crop_min_area": 0.08,
        "color_jitter": 0.4,
        "flip": True,
        "steps": round(300_000 * 1024 / batch_size),
        "batch_size": batch_size,
        "learning_rate": 0.5 * batch_size / 1024,
        "schedule": "linear",
        "nesterov": False,
        "weight_decay": 4e-5,
        "label_smoothing": 0.1,
        "batch_norm_steps": round(1250 * 1024 / batch_size),
    }


def torchvision_600(batch_size: int = 1024) -> dict[str, Any]:
    """ImageNet with torchvision's recipe for ShuffleNet V2 1.5x and 2x: 600 epochs.

    shufflenet train --recipe=torchvision_600 --workdir=/tmp/v2_600

    Not trained here. torchvision's top-1 accuracy: 1.5x 73.00%, 2x (--scale=2) 76.23%. The random
    mixing is drawn for each image here, and for the batch of each of 8 devices there.
    """
    return {
        "dataset": "imagenet2012",
        "eval_split": "validation",
        "model": "shufflenet_v2",
        "scale": 1.5,
        "input_size": 224,
        "crop_share": 224 / 232,
        "train_size": 176,
        "preprocessing": "torch",
        "crop": "resized",
        "crop_min_area": 0.08,
        "flip": True,
        "trivial_augment": True,
        "random_erasing": 0.1,
        "repeated_augmentation": 4,
        "mixup": 0.2,
        "cutmix": 1.0,
        "epochs": 600,
        "batch_size": batch_size,
        "learning_rate": 0.5 * batch_size / 1024,
        "warmup_epochs": 5,
        "nesterov": False,
        "weight_decay": 2e-5,
        "label_smoothing": 0.1,
        # torchvision's average changes by 2e-5 * batch * 32 / epochs at every 32nd step.
        "ema_decay": (1 - 2e-5 * batch_size * 32 / 600) ** (1 / 32),
    }


def finetune(batch_size: int = 64) -> dict[str, Any]:
    """A trained network, trained further on your own photographs (in folders as for `folder`).

    shufflenet train --recipe=finetune --weights=WORKDIR --data_dir=ROOT --workdir=/tmp/mine

    WORKDIR is the folder of a training, whose network is used. With a file of weights, give
    --model, --scale and so on if they differ from this recipe's. The accuracy depends on the
    network and the images. An example: the V2 0.5x of `cifar10`, trained further on 1,000 of the
    same images as animals and vehicles, reached 95.0% on 10,000 images.
    """
    return {
        **folder(batch_size),
        "epochs": 15,
        # Lower than for random weights, so that not everything learnt is lost.
        "learning_rate": 0.2 * batch_size / 1024,
        "warmup_epochs": 1,
    }


def detection(batch_size: int = 16) -> dict[str, Any]:
    """Your own objects, in images with boxes: COCO's JSON, Pascal VOC's or YOLO's layout.

    shufflenet train --recipe=detection --data_dir=ROOT --workdir=/tmp/mine

    With --weights=WORKDIR or a checkpoint, the backbone does not start from random weights, which
    matters more than anything else. docs/guides/detect.md has an example with its figures.
    """
    return {
        "task": "detection",
        "dataset": "folder",
        "eval_split": "val",
        "model": "shufflenet_v2",
        "scale": 0.5,
        "input_size": 256,
        "epochs": 75,
        "batch_size": batch_size,
        "optimizer": "adamw",
        "learning_rate": 2e-3 * batch_size / 16,
        "warmup_epochs": 4,
        "weight_decay": 0.02,
        "ema_decay": 0.99,
    }


RECIPES: dict[str, Callable[..., dict[str, Any]]] = {
    "digits": digits,
    "cifar10": cifar10,
    "cifar10_40px": cifar10_40px,
    "cifar10_fast": cifar10_fast,
    "folder": folder,
    "finetune": finetune,
    "detection": detection,
    "shufflenet_v1_paper": shufflenet_v1_paper,
    "shufflenet_v2_paper": shufflenet_v2_paper,
    "torchvision_600": torchvision_600,
}
# Settings that starting weights determine; they are read from the weights' workdir.
_NETWORK = (
    "model",
    "scale",
    "groups",
    "padding",
    "convention",
    "small_images",
    "preprocessing",
    "channels",
    "stem_channels",
    "stage_channels",
    "head_channels",
    "first_depthwise",
)
# What a checkpoint says of its network.
_CHECKPOINTS = ("model", "scale", "groups", "size", "padding", "convention", "preprocessing")
# Those that a backbone does not determine.
_WHOLE_NETWORK = (
    *_NETWORK,
    "input_size",
    "crop_share",
    "neck",
    "neck_width",
    "strides",
)


def make_config(recipe: str, workdir: str, overrides: Mapping[str, Any]) -> TrainConfig:
    """Returns the recipe's values, replaced by the overrides.

    Args:
      recipe: a key of `RECIPES`.
      workdir: folder of the run's results.
      overrides: settings of `TrainConfig` by name. A batch size also changes the learning rate,
        epochs replace a recipe's steps, and a workdir as `weights` sets the values of its network.

    Raises:
      UserError: no such recipe, or a value is missing or not allowed; the message names it.

    Examples:
      >>> make_config("digits", "/tmp/digits", {"batch_size": 32}).learning_rate
      0.05
    """
    if recipe not in RECIPES:
        raise UserError(f"unknown recipe {recipe!r}; --recipe is one of {', '.join(RECIPES)}")
    values = RECIPES[recipe]()
    if "batch_size" in overrides:
        values = RECIPES[recipe](overrides["batch_size"])
    if "epochs" in overrides:
        values["steps"] = None
    if recipe == "finetune" and not overrides.get("weights"):
        raise UserError("--weights is missing; name the workdir or the file of a trained network")
    task = overrides.get("task", values.get("task", DetectionConfig.task))
    values.update(_network_of(overrides.get("weights"), task))
    return TrainConfig.from_flags({"recipe": recipe, "workdir": workdir, **values, **overrides})


def _network_of(weights: str | None, task: str) -> dict[str, Any]:
    """Returns the values of the network that starting weights are of, as far as they are known.

    Raises:
      UserError: a detector's weights are named for another task, or a checkpoint is damaged.
    """
    if weights is None:
        return {}
    if not Path(weights).is_dir():
        return _network_of_checkpoint(weights)
    trained = TrainConfig.load(weights)
    if trained.detection.is_detection and task != trained.detection.task:
        raise UserError(
            f"--weights {weights} is a detector's training; name a classifier's, or train with "
            "--recipe=detection"
        )
    names = _WHOLE_NETWORK if trained.detection.task == task else _NETWORK
    values = trained.to_flat()
    return {name: values[name] for name in names}


def _network_of_checkpoint(path: str) -> dict[str, Any]:
    """Returns the values of a PyTorch checkpoint's network; none for other files."""
    if path.endswith((MODEL_SUFFIX, ".weights.h5")) or not Path(path.removesuffix("#ema")).exists():
        return {}
    import_tensorflow()
    from keras_shufflenet.checkpoints.files import read_tensors
    from keras_shufflenet.checkpoints.names import recognize
    from keras_shufflenet.checkpoints.networks import arguments_of

    try:
        tensors = read_tensors(path)
        values = {"model": recognize(tensors, path).network, **arguments_of(tensors, path)}
    except (ValueError, ImportError, FileNotFoundError) as error:
        raise UserError(f"--weights: {error}") from None
    return {name: value for name, value in values.items() if name in _CHECKPOINTS}
