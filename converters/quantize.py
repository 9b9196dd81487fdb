"""Continues training a model with int8 rounding in it (quantization-aware training).

Of a workdir (the folder that shufflenet train writes), the data and settings are those of the
model's own training; each flag below overrides one. A .keras file of any classifier is trained on
the photographs in --data_dir.

Example:
  shufflenet quantize --model=work
  shufflenet convert --model=work --output=artifact --quantization=int8-qat
  shufflenet quantize --model=net.keras --data_dir=photos
"""

import dataclasses
from pathlib import Path
from typing import Any

from absl import flags

from common import cli
from common.settings import define_flags, given_flags
from common.storage.readers import read_lines
from converters.quantization.config import WEIGHTS_FILE, QatConfig, default_folder, is_file
from converters.source import flags as source_flags
from converters.source.flags import ModelFlags, is_detector_file
from trainers.config import CONFIG_FILE, GROUPS, TrainConfig, check_new
from trainers.data.class_names import difference, read_labels
from trainers.recipes import make_config
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
# Of a .keras file, whose float training is unknown: AdamW's for 64 images, as in the measurements
# of docs/quantization-aware-training.md.
FILE_RATE = 1.5e-4
# What is told of such a file.
_OF_FILE = ("labels", "preprocessing", "input_size", "crop_share")

flags.DEFINE_string(
    "model",
    None,
    "Workdir of the float training (shufflenet train), or a .keras file of a trained classifier.",
)
flags.DEFINE_string(
    "workdir", None, "Folder for the results; default: MODEL/qat, of FILE.keras FILE_qat."
)
flags.DEFINE_bool("resume", False, "Continue the run in --workdir from its last checkpoint.")

_OF_QAT = define_flags(QatConfig)
source_flags.define(_OF_FILE)
# So that --help shows them.
flags.adopt_module_key_flags(source_flags)

# The settings of `TrainConfig` that have a flag here, with a help text if they mean something else.
# Without the flag the float training's value is used, unless the help says otherwise.
_OF_TRAINING = {
    "data_dir": "Folder of the data, if it has moved since the training. For a .keras file: of "
    "photographs, in SPLIT/CLASS/ or CLASS/.",
    "epochs": f"Passes over the training images (default {EPOCHS}, of a detector "
    f"{DETECTOR_EPOCHS}).",
    "steps": None,
    "batch_size": None,
    "learning_rate": "Peak of the cosine schedule; default: "
    f"{LEARNING_RATE_SHARE:g} times the float training's, {ADAMW_RATE_SHARE:g} times with adamw; "
    f"of a .keras file {FILE_RATE:g} for 64 images in a batch.",
    "warmup_epochs": "Epochs of linear warm-up (default 0).",
    "crop": "How training images are cut out (default: as in the training; of a .keras file none).",
    "flip": "Mirror each training image in every other epoch (default: as in the training; of a "
    ".keras file no).",
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
        raise cli.UserError(
            "--model is missing; name the workdir of a training (shufflenet train), or a .keras "
            "file"
        )
    model, given = Path(FLAGS.model), source_flags.read(_OF_FILE)
    given.check_for(model)
    workdir = Path(FLAGS.workdir or default_folder(model))
    # A job whose command always has --resume starts a new run the first time.
    resume = FLAGS.resume and (workdir / CONFIG_FILE).exists()
    config, qat = _resumed(model, workdir, given) if resume else _new(model, workdir)
    # Imported here, so that a wrong flag is reported before TensorFlow takes seconds to load.
    import_tensorflow()
    from converters.quantization.training import train_quantized

    labels = ()
    if is_file(model) and not resume:
        config, labels = _of_file(config, model, given)
    workdir.mkdir(parents=True, exist_ok=True)
    train_quantized(config, qat, resume, labels)


def entry_point() -> None:
    """Runs the command."""
    cli.run(main)


def _new(model: Path, workdir: Path) -> tuple[TrainConfig, QatConfig]:
    if (workdir / WEIGHTS_FILE).exists():
        raise cli.UserError(f"{workdir} already holds a finished run; name another --workdir")
    if is_file(model):
        check_new(workdir)
        return _before_opening(model, workdir), QatConfig(model=model, **given_flags(_OF_QAT))
    trained = TrainConfig.load(model)
    if not (model / "model.keras").is_file():
        raise cli.UserError(f"{model / 'model.keras'} is missing; finish the training first")
    check_new(workdir)
    config = _replace(trained, {**_defaults(trained), "workdir": str(workdir)})
    return config, QatConfig(model=model, **given_flags(_OF_QAT))


def _before_opening(model: Path, workdir: Path) -> TrainConfig:
    """Returns the settings for a `.keras` file, but for what the file itself says."""
    if not model.is_file():
        raise cli.UserError(f"{model} does not exist or is not a file; check --model")
    if is_detector_file(model):
        raise cli.UserError(f"{model} is a detector's; name its workdir: --model={model.parent}")
    if not FLAGS.data_dir:
        raise cli.UserError(
            f"--data_dir is missing; {model} is trained on photographs, in a folder for each class"
        )
    values = {
        "data_dir": FLAGS.data_dir,
        "model": str(model),
        "epochs": EPOCHS,
        "optimizer": "adamw",
        "learning_rate": FILE_RATE * (FLAGS.batch_size or 64) / 64,
        "warmup_epochs": 0.0,
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
        # What images may be changed into, such as their mirror image, only the user knows.
        "crop": "none",
        "flip": False,
    }
    return _replace(make_config("folder", str(workdir), values), {})


def _of_file(
    config: TrainConfig, model: Path, given: ModelFlags
) -> tuple[TrainConfig, tuple[str, ...]]:
    """Returns the settings with what a `.keras` file says, and the names of its classes."""
    from converters.quantization.class_order import labels_of_folders
    from converters.source.classifier_file import open_classifier

    opened = open_classifier(model, given)
    classes = opened.model.output_shape[-1]
    labels = labels_of_folders(config.data, classes, opened.labels, model)
    return TrainConfig.from_flags({**config.to_flat(), **opened.settings}), labels


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


def _resumed(model: Path, workdir: Path, given: ModelFlags) -> tuple[TrainConfig, QatConfig]:
    config, qat = TrainConfig.load(workdir), QatConfig.load(workdir)
    if qat.model.resolve() != model.resolve():
        raise cli.UserError(
            f"{workdir} is a training of {qat.model}, not of {model}; name another --workdir"
        )
    said = {name: value for name in _OF_FILE[1:] if (value := getattr(given, name)) is not None}
    wanted = _replace(config, said)
    resumed = config.moved_to(wanted)
    changed = [
        *resumed.differences(wanted),
        *qat.differences(dataclasses.replace(qat, **given_flags(_OF_QAT))),
        *_other_labels(workdir, given.labels),
    ]
    if changed:
        raise cli.UserError(
            f"{workdir} was trained with other values ({', '.join(changed)}); "
            "resume with the same flags, or name another --workdir"
        )
    return resumed, qat


def _other_labels(workdir: Path, file: Path | None) -> list[str]:
    if file is None:
        return []
    found, known = read_lines(file, "name another file"), read_labels(workdir)
    return [] if tuple(found) == known else [f"labels: {difference(found, known)}"]


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
