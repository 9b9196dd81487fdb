"""Continues training a model with int8 rounding in it (quantization-aware training).

Uses the data and settings of the model's own training, read from its workdir (the folder that
shufflenet train writes); each flag below overrides one setting.

Example:
  shufflenet quantize --model=work
  shufflenet convert --model=work --output=artifact --quantization=int8-qat
"""

import dataclasses
from pathlib import Path
from typing import Any

from absl import flags

from common import cli
from common.settings import define_flags, given_flags
from converters.quantization.config import WEIGHTS_FILE, QatConfig
from trainers.config import CONFIG_FILE, GROUPS, TrainConfig, check_new
from trainers.settings import LOCAL_STRATEGIES
from trainers.startup import import_tensorflow

FLAGS = flags.FLAGS
# The peak of the learning rate, as a share of the float training's. On digits (a V2 of 16/32/64
# channels, two seeds, 2 epochs each) 0.003 and 0.01 lowered the loss of post-training quantization
# most, from 0.178 and 0.159 to 0.173 and 0.158; at 0.03 and 0.1 it was higher again, and 1 to 2%
# of the images changed their class. Digits are easy: measure with harder images.
LEARNING_RATE_SHARE = 0.01
EPOCHS = 2
# With AdamW, whose steps have the length of the rate, whatever the gradients. On blood cells
# (docs/detection.md) 0.05 gave back all of the AP that post-training quantization lost.
ADAMW_RATE_SHARE = 0.05
# There are few images, of which each has many objects.
DETECTOR_EPOCHS = 10

flags.DEFINE_string("model", None, "Workdir of the float training (shufflenet train).")
flags.DEFINE_string("workdir", None, "Folder for the results; default: MODEL/qat.")
flags.DEFINE_bool("resume", False, "Continue the run in --workdir from its last checkpoint.")

_OF_QAT = define_flags(QatConfig)

# The settings of `TrainConfig` that have a flag here, with a help text if they mean something else.
# Without the flag the float training's value is used, unless the help says otherwise.
_OF_TRAINING = {
    "data_dir": "Folder of the data, if it has moved since the training.",
    "epochs": f"Passes over the training images (default {EPOCHS}, of a detector "
    f"{DETECTOR_EPOCHS}).",
    "steps": None,
    "batch_size": None,
    "learning_rate": "Peak of the cosine schedule; default: "
    f"{LEARNING_RATE_SHARE:g} times the float training's, {ADAMW_RATE_SHARE:g} times with adamw.",
    "warmup_epochs": "Epochs of linear warm-up (default 0).",
    "seed": "Seed of the image order and the augmentation.",
    "strategy": f"Where to run: {', '.join(LOCAL_STRATEGIES)}; default: the training's if it is "
    "one of them.",
    "devices": None,
    "eval_every": None,
    "checkpoint_every": None,
}
for group in GROUPS.values():
    define_flags(group, _OF_TRAINING)


def main() -> None:
    """Reads the settings, then trains."""
    if not FLAGS.model:
        raise cli.UserError("--model is missing; name the workdir of a training (shufflenet train)")
    model = Path(FLAGS.model)
    workdir = Path(FLAGS.workdir or model / "qat")
    # A job whose command always has --resume starts a new run the first time.
    resume = FLAGS.resume and (workdir / CONFIG_FILE).exists()
    config, qat = _resumed(workdir) if resume else _new(model, workdir)
    # Imported here, so that a wrong flag is reported before TensorFlow takes seconds to load.
    import_tensorflow()
    from converters.quantization.training import train_quantized

    train_quantized(config, qat, resume)


def entry_point() -> None:
    """Runs the command."""
    cli.run(main)


def _new(model: Path, workdir: Path) -> tuple[TrainConfig, QatConfig]:
    trained = TrainConfig.load(model)
    if not (model / "model.keras").is_file():
        raise cli.UserError(f"{model / 'model.keras'} is missing; finish the training first")
    if (workdir / WEIGHTS_FILE).exists():
        raise cli.UserError(f"{workdir} already holds a finished run; name another --workdir")
    check_new(workdir)
    config = _replace(trained, {**_defaults(trained), "workdir": str(workdir)})
    qat = QatConfig(model=model, **given_flags(_OF_QAT))
    workdir.mkdir(parents=True, exist_ok=True)
    return config, qat


def _defaults(trained: TrainConfig) -> dict[str, Any]:
    """Returns the settings that differ from the float training's."""
    before, strategy = trained.optimization, trained.placement.strategy
    batch_size = FLAGS.batch_size or before.batch_size
    detects, adam = trained.detection.is_detection, before.optimizer == "adamw"
    share = ADAMW_RATE_SHARE if adam else LEARNING_RATE_SHARE
    rate = share * before.learning_rate * batch_size / before.batch_size
    return {
        "epochs": DETECTOR_EPOCHS if detects else EPOCHS,
        "steps": None,
        "learning_rate": rate,
        "warmup_epochs": 0.0,
        # Muon's steps suit kernels whose norm a BatchNorm makes irrelevant; these kernels have the
        # BatchNorm folded in.
        "optimizer": "adamw" if adam else "sgd",
        "bias_rate": 1.0,
        "eval_every": None,
        "checkpoint_every": None,
        # Only for float training: it was the start, or needs BatchNorm, or other input sizes.
        "weights": None,
        "whiten_stem": False,
        "train_size": None,
        "train_size_epochs": None,
        "ema_decay": 0.0,
        "batch_norm_steps": 0,
        "distill": None,
        "precision": "float32",
        "strategy": strategy if strategy in LOCAL_STRATEGIES else "one",
    }


def _resumed(workdir: Path) -> tuple[TrainConfig, QatConfig]:
    config, qat = TrainConfig.load(workdir), QatConfig.load(workdir)
    wanted = _replace(config, {})
    resumed = config.moved_to(wanted)
    changed = [
        *resumed.differences(wanted),
        *qat.differences(dataclasses.replace(qat, **given_flags(_OF_QAT))),
    ]
    if changed:
        raise cli.UserError(
            f"{workdir} was trained with other values ({', '.join(changed)}); "
            "resume with the same flags, or name another --workdir"
        )
    return resumed, qat


def _replace(config: TrainConfig, values: dict[str, Any]) -> TrainConfig:
    given = given_flags(_OF_TRAINING)
    replaced = TrainConfig.from_flags({**config.to_flat(), **values, **given})
    strategy = replaced.placement.strategy
    if strategy not in LOCAL_STRATEGIES:
        raise cli.UserError(
            f"--strategy must be one of {', '.join(LOCAL_STRATEGIES)}, got {strategy!r}"
        )
    return replaced


if __name__ == "__main__":
    entry_point()
