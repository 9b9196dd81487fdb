"""What must agree: the splits, the workers, and the devices before and after a stop."""

from pathlib import Path

from common import files
from common.cli import UserError
from common.storage.readers import read_json
from trainers.config import NOT_COMPARED, TrainConfig, library_versions
from trainers.data.class_names import describe, difference
from trainers.data.sources import Source

_DEVICES_FILE = "devices.json"


def note_devices(workdir: Path, devices: int) -> None:
    """Records how many devices share a batch; prints a note if the number has changed."""
    path = workdir / _DEVICES_FILE
    try:
        before = read_json(path, "remove it")["devices"]
    except FileNotFoundError:
        before = devices
    except (OSError, UserError, KeyError, TypeError):
        # Only a message depends on it, so the training does not stop.
        before = f"an unknown number ({path} cannot be read)"
    if before != devices:
        print(
            f"resuming on {devices} devices (was {before}): gradients are added up in another "
            "order, and if each worker reads its own files, so are the images; the weights will "
            "not be bit-identical to those of a run that was not stopped",
            flush=True,
        )
    files.write_json(path, {"devices": devices})


def what_workers_share(
    config: TrainConfig, train_source: Source, eval_source: Source
) -> dict[str, object]:
    """Returns what must be the same on all workers."""
    own = {*NOT_COMPARED, "data_dir"}
    return {
        **{f"--{name}": value for name, value in config.to_flat().items() if name not in own},
        "numbers of training images": train_source.num_examples,
        "numbers of evaluation images": eval_source.num_examples,
        "class names": train_source.class_names,
        "versions": library_versions(),
    }


def check_splits(config: TrainConfig, train_source: Source, eval_source: Source) -> None:
    """Checks that a training can be evaluated on the other split.

    Raises:
      UserError: the splits have other classes, or the preprocessing needs colours.
    """
    if train_source.class_names != eval_source.class_names:
        raise UserError(
            f"split {config.data.eval_split!r} of {describe(config.data)} has other classes than "
            f"{config.data.train_split!r}: "
            f"{difference(eval_source.class_names, train_source.class_names)}; name another split"
        )
    if config.images.preprocessing == "torch" and train_source.channels != 3:
        raise UserError(
            f"--preprocessing=torch is for colour images; {config.data.dataset} has "
            f"{train_source.channels} channel; name --preprocessing=tf"
        )
