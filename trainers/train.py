"""Trains a ShuffleNet: python -m trainers.train --recipe=digits --workdir=/tmp/digits.

A recipe gives every value; each flag below overrides one. `--recipe` may be left out to resume.

Exit codes: 0 done, 1 an error, 130 Ctrl-C, 75 SIGTERM (a preemption). The last two leave a
checkpoint: start the same command again with --resume.
"""

import dataclasses
from pathlib import Path
from typing import Any

from absl import flags

from common import cli
from trainers import config, recipes
from trainers.startup import import_tensorflow

FLAGS = flags.FLAGS

flags.DEFINE_string("recipe", None, f"What to start from: {', '.join(recipes.RECIPES)}.")
flags.DEFINE_string("workdir", None, "Folder for the results; made if missing.")
flags.DEFINE_bool("resume", False, "Go on with the run in --workdir from its last checkpoint.")

# The rest is called as in `TrainConfig`; None leaves the recipe's value.

# Data.
flags.DEFINE_string(
    "dataset",
    None,
    "'digits' (offline), 'folder' (images in DATA_DIR/SPLIT/CLASS/*.jpg) or a name in the "
    "catalogue of TensorFlow Datasets, such as cifar10.",
)
flags.DEFINE_string(
    "data_dir",
    None,
    "Root of the image folder, or where TensorFlow Datasets keeps its data "
    "(default ~/tensorflow_datasets).",
)
flags.DEFINE_string("train_split", None, "Training images, such as 'train' or 'train[:90%]'.")
flags.DEFINE_string("eval_split", None, "Evaluation images, such as 'test' or 'train[90%:]'.")
flags.DEFINE_bool(
    "verify_images", None, "Decode each file of an image folder once; leave out the unreadable."
)
flags.DEFINE_integer(
    "cache_mb",
    None,
    "Keep a split of at most so many MiB in memory (default 512); 0: read again in every epoch.",
)
flags.DEFINE_string(
    "data_service",
    None,
    "Have the training batches made elsewhere: grpc://HOST:PORT of trainers.data_server, or "
    "'local', to try it. Their order is then not the same in every run.",
)

# Network.
flags.DEFINE_string(
    "model",
    None,
    f"Network: {', '.join(config.MODELS)}; or a {config.MODEL_SUFFIX} file, whose architecture is "
    "trained from random weights.",
)
flags.DEFINE_float(
    "scale",
    None,
    "Width of the network: 0.5, 1, 1.5, 2; V1 has 0.25 too. MobileNetV2 gets the multiply-adds of "
    "ShuffleNet V2 at that scale.",
)
flags.DEFINE_integer("groups", None, "Groups of V1's convolutions: 1, 2, 3, 4 or 8 (default 3).")
flags.DEFINE_string(
    "padding",
    None,
    f"{', '.join(config.PADDINGS)}: of stride-2 convolutions; symmetric is PyTorch's.",
)
flags.DEFINE_string(
    "convention", None, "Where channels are shuffled: paper, or megvii for that code's checkpoints."
)
flags.DEFINE_bool(
    "small_images", None, "For 32 to 64 pixels: stem with stride 1 and without a max-pool."
)
flags.DEFINE_string(
    "weights",
    None,
    "Start from these: the workdir of a training, whose network is taken over, a .keras or "
    ".weights.h5 file, or what the network's `weights` argument takes. New classes get a new "
    "classifier.",
)
flags.DEFINE_bool(
    "whiten_stem",
    None,
    "Give the first convolution principal components of the training images' patches as its "
    "kernels, and train all but these.",
)
flags.DEFINE_integer("input_size", None, "Height and width of the network's input, pixels.")
flags.DEFINE_integer(
    "resize_size",
    None,
    "Evaluation scales the shorter side to this and cuts the centre, pixels.",
)
flags.DEFINE_integer(
    "train_size", None, "Height and width of training images, pixels (default: --input_size)."
)
flags.DEFINE_float(
    "train_size_epochs",
    None,
    "So many epochs have --train_size, and the others --input_size (default: all have it).",
)
flags.DEFINE_string(
    "preprocessing",
    None,
    f"{', '.join(config.PREPROCESSINGS)}: pixels to [-1, 1], or by ImageNet's mean and deviation.",
)

# Augmentation.
flags.DEFINE_string(
    "crop",
    None,
    f"{', '.join(config.CROPS)}: training takes the centre, or pads by --crop_padding and cuts at "
    "random, or scales a random part of at least --crop_min_area.",
)
flags.DEFINE_integer("crop_padding", None, "Pixels, for --crop=pad.")
flags.DEFINE_float("crop_min_area", None, "Share of the image's area, for --crop=resized.")
flags.DEFINE_bool("flip", None, "Mirror training images, each in every other epoch.")
flags.DEFINE_float(
    "color_jitter", None, "Change brightness, contrast and saturation by at most this share."
)
flags.DEFINE_bool("trivial_augment", None, "TrivialAugment: one random operation per image.")
flags.DEFINE_float("random_erasing", None, "Share of images that lose a random rectangle.")
flags.DEFINE_integer(
    "repeated_augmentation", None, "Variants of each image in a batch, of fewer images; 1: off."
)
flags.DEFINE_float("mixup", None, "Blend pairs of images: alpha of Beta(alpha, alpha); 0: off.")
flags.DEFINE_float("cutmix", None, "Paste boxes into images, likewise; with mixup: one of both.")

# Optimization.
flags.DEFINE_float("epochs", None, "Passes over the training images.")
flags.DEFINE_integer("steps", None, "Steps to train, instead of --epochs.")
flags.DEFINE_integer(
    "batch_size", None, "Images per step, over all devices; the learning rate follows it."
)
flags.DEFINE_float("learning_rate", None, "Peak of the schedule.")
flags.DEFINE_string("schedule", None, f"{' or '.join(config.SCHEDULES)}, to 0 at the end.")
flags.DEFINE_float("warmup_epochs", None, "Epochs of linear warm-up.")
flags.DEFINE_string(
    "optimizer", None, "sgd, or muon: orthogonal steps for 1x1 convolutions, SGD for the rest."
)
flags.DEFINE_float(
    "bias_rate", None, "Factor of the learning rate of biases and of BatchNorm's offsets."
)
flags.DEFINE_bool("nesterov", None, "Momentum that looks ahead.")
flags.DEFINE_float("weight_decay", None, "L2 penalty on kernels.")
flags.DEFINE_float("label_smoothing", None, "Share of the target spread over all classes.")
flags.DEFINE_float(
    "ema_decay",
    None,
    "Evaluate and save an average of the weights that keeps this share at each step; 0: off.",
)
flags.DEFINE_integer(
    "batch_norm_steps",
    None,
    "Estimate BatchNorm's statistics anew at the end, from so many batches.",
)
flags.DEFINE_string(
    "distill",
    None,
    "Teacher whose logits are learnt too: a workdir, or a .keras file of any classifier.",
)
flags.DEFINE_float("temperature", None, "Of --distill: logits are divided by it.")
flags.DEFINE_float("distill_weight", None, "Share of --distill in the loss.")
flags.DEFINE_string(
    "precision",
    None,
    f"{', '.join(config.PRECISIONS)}: bfloat16 for TPUs, float16, whose loss is scaled, for GPUs.",
)
flags.DEFINE_integer("seed", None, "Of weights, order and augmentation.")

# Where, and what is kept.
flags.DEFINE_string("strategy", None, f"Where to run: {', '.join(config.STRATEGIES)}.")
flags.DEFINE_integer(
    "devices", None, "GPUs of --strategy=mirrored; without a GPU, parts of the CPU, to try it."
)
flags.DEFINE_string(
    "cluster",
    None,
    f"Where --strategy=multiworker finds the workers: {', '.join(config.CLUSTERS)}. To try it on "
    "one machine: python -m trainers.launch --help",
)
flags.DEFINE_string("pod_label", None, "Label of the workers' pods, for --cluster=kubernetes.")
flags.DEFINE_integer("pods", None, "How many pods have that label.")
flags.DEFINE_string("tpu", None, "Name of the TPU of --strategy=tpu; 'local': this machine's.")
flags.DEFINE_integer("eval_every", None, "Steps between evaluations; default: one epoch.")
flags.DEFINE_integer(
    "checkpoint_every", None, "Steps between checkpoints; default: with every evaluation."
)
flags.DEFINE_float(
    "checkpoint_minutes", None, "A checkpoint also when the last one is so many minutes old."
)


def main() -> None:
    """Settles the config, then trains."""
    if not FLAGS.workdir:
        raise cli.UserError("--workdir is missing; name a folder for the results")
    train_config = _resumed_config() if _is_resumed() else _new_config()
    # Only now, so that a wrong flag is told without seconds of waiting for TensorFlow.
    import_tensorflow()
    from trainers import loop

    loop.train(train_config, resume=_is_resumed())


def entry_point() -> None:
    """Runs the command."""
    cli.run(main)


def _is_resumed() -> bool:
    # A job that is restarted with --resume from its first line on begins like any other.
    return FLAGS.resume and (Path(FLAGS.workdir) / config.CONFIG_FILE).exists()


def _new_config() -> config.TrainConfig:
    if not FLAGS.recipe:
        raise cli.UserError(f"--recipe is missing; name one of {', '.join(recipes.RECIPES)}")
    made = recipes.make_config(FLAGS.recipe, FLAGS.workdir, _overrides())
    workdir = Path(FLAGS.workdir)
    if made.strategy == "multiworker":
        # The chief, who may have begun already, checks the folder and makes it.
        return made
    if (workdir / config.CONFIG_FILE).exists():
        raise cli.UserError(
            f"{workdir} already holds a run; add --resume to go on with it, or name another "
            "--workdir"
        )
    workdir.mkdir(parents=True, exist_ok=True)
    return made


def _resumed_config() -> config.TrainConfig:
    saved = config.TrainConfig.load(FLAGS.workdir)
    if FLAGS.recipe:
        wanted = recipes.make_config(FLAGS.recipe, FLAGS.workdir, _overrides())
    else:
        wanted = dataclasses.replace(saved, **_overrides())
    changed = saved.differences(wanted)
    if changed:
        raise cli.UserError(
            f"{FLAGS.workdir} was trained with other values ({', '.join(changed)}); "
            "resume with the same flags, or name another --workdir"
        )
    # Where it runs may be elsewhere than before.
    return dataclasses.replace(saved, **{name: getattr(wanted, name) for name in config.WHERE})


def _overrides() -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(config.TrainConfig)}
    given = {name: FLAGS[name].value for name in names - {"recipe", "workdir"}}
    return {name: value for name, value in given.items() if value is not None}


if __name__ == "__main__":
    entry_point()
