"""Trains networks one after the other, with the trainers' own loop, and resumes after a stop.

Every network has a folder, and in it a workdir for each seed. Finished trainings are not repeated,
interrupted ones are resumed, and those with other settings are rejected.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from common import files
from common.choices import choose
from common.cli import UserError
from experiments.training.config import QueueConfig
from keras_shufflenet.complexity import complexity
from trainers import loop, tasks
from trainers.config import CONFIG_FILE, TrainConfig
from trainers.detection.task import DetectionTask
from trainers.networks.models import load_model, save_model
from trainers.recipes import make_config
from trainers.reporting.metrics import METRICS_FILE, last_evaluation
from trainers.task import Task

_NETWORK, _ARCHITECTURE = "network.keras", "network.json"
# The settings that differ between the runs of a queue.
_OF_A_RUN = ("model", "seed", "workdir")


@dataclasses.dataclass(frozen=True)
class Training:
    """A network to train.

    Attributes:
      name: unique in the queue.
      build: called with `input_shape` and `classes`, and with `small_images` if it is a
        classifier; returns a network whose outputs are logits, or a detector.
    """

    name: str
    build: Callable[..., keras.Model]


@dataclasses.dataclass(frozen=True)
class Trained:
    """What is known of a network that is trained to the end.

    Attributes:
      name: of the network.
      macs, parameters: of the network as it was trained.
      evaluations: by seed, the last evaluation, by the names of `metrics.jsonl`.
      settings: of `TrainConfig` by name, except the network, the seed and the workdir.
    """

    name: str
    macs: int
    parameters: int
    evaluations: Mapping[int, Mapping[str, Any]]
    settings: Mapping[str, Any]

    @property
    def images(self) -> int:
        """Number of images that were evaluated."""
        return min(one["eval_images"] for one in self.evaluations.values())


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """The accuracy that a network reached.

    Attributes:
      name: of the network.
      macs, parameters: of the network as it was trained.
      images: number of images that were evaluated.
      top1: by seed, the share of these images that is classified correctly at the end.
      settings: of `TrainConfig` by name, except the network, the seed and the workdir.
    """

    name: str
    macs: int
    parameters: int
    images: int
    top1: Mapping[int, float]
    settings: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class _Run:
    name: str
    seed: int
    workdir: Path
    config: TrainConfig

    @property
    def is_done(self) -> bool:
        # The last file that a training writes.
        return (self.workdir / Task.final_file).is_file()

    @property
    def is_begun(self) -> bool:
        return (self.workdir / CONFIG_FILE).is_file()


def train_all(trainings: Sequence[Training], queue: QueueConfig) -> None:
    """Trains networks with every seed; finished trainings stay as they are.

    A training that fails does not stop those after it.

    Args:
      trainings: with different names.
      queue: which of them to train, how, and where.

    Raises:
      UserError: an unknown name, the data cannot be used, a network or a value differs from that
        of an existing workdir, or trainings failed; the message names them.
      KeyboardInterrupt, SystemExit: Ctrl-C and SIGTERM, after a checkpoint was saved. The same
        call resumes.

    Examples:
      >>> queue = QueueConfig("cifar10", {"epochs": 10}, (0, 1, 2), Path("trainings"))
      >>> train_all([Training("v1", functools.partial(ShuffleNetV1, 0.25))], queue)
    """
    by_name = {training.name: training for training in trainings}
    chosen = [by_name[name] for name in choose("network to train", queue.names, by_name)]
    arguments, runs = _arguments(queue), []
    for training in chosen:
        # Numbers the names of layers from the start, and frees the network before.
        keras.backend.clear_session()
        model = training.build(**arguments)
        path = _keep_network(model, network_folder(queue.folder, training.name))
        for seed in queue.seeds:
            values = {**queue.values, "model": str(path), "seed": seed}
            workdir = path.parent / f"seed{seed}"
            config = make_config(queue.recipe, str(workdir), values)
            runs.append(_Run(training.name, seed, workdir, config))
    # All of them before the first hour of training.
    for run in runs:
        _check_values(run)
    _work_off(runs)


def finished(names: Iterable[str], folder: Path) -> dict[str, Accuracy]:
    """Returns by name the accuracies of classifiers, over all seeds that are trained to the end.

    Args and errors are those of `trained`.
    """
    return {name: _accuracy(one) for name, one in trained(names, folder).items()}


def trained(names: Iterable[str], folder: Path) -> dict[str, Trained]:
    """Returns by name what networks reached, over all seeds that are trained to the end.

    Args:
      names: of trainings; those that are not finished are skipped.
      folder: as `QueueConfig.folder`.

    Raises:
      UserError: a file of a finished training is damaged, or its seeds were trained differently.
    """
    found = {}
    for name in names:
        workdirs = sorted(network_folder(folder, name).glob("seed*"))
        done = [workdir for workdir in workdirs if (workdir / Task.final_file).is_file()]
        if done:
            found[name] = _trained(name, done)
    return found


def network_folder(folder: Path, name: str) -> Path:
    """Returns the folder of a network's trainings, which has a workdir for each seed."""
    return folder / re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def _arguments(queue: QueueConfig) -> dict[str, Any]:
    """Returns what the networks are built with, for the images and classes of the data."""
    config = make_config(queue.recipe, str(queue.folder), queue.values)
    _, load = tasks.choose(config)
    # Each training verifies its images anyway.
    data = dataclasses.replace(config.data, verify_images=False)
    (source,) = load(data, [data.train_split])
    shape = (config.images.input_size, config.images.input_size, source.channels)
    arguments = {"input_shape": shape, "classes": len(source.class_names)}
    if not config.detection.is_detection:
        arguments["small_images"] = config.network.small_images
    return arguments


def _keep_network(model: keras.Model, folder: Path) -> Path:
    """Writes the network where its trainings find it; rejects one that differs from an earlier."""
    folder.mkdir(parents=True, exist_ok=True)
    path, description = folder / _ARCHITECTURE, model.to_json(indent=1)
    if not path.is_file():
        save_model(model, folder / _NETWORK)
        # Last: a folder with a description also has the network.
        files.write_text(path, description)
    elif path.read_text(encoding="utf-8") != description:
        raise UserError(
            f"{folder} holds trainings of another network ({path.name} differs from the network "
            "built now); name another --output, or remove this folder"
        )
    return folder / _NETWORK


def _check_values(run: _Run) -> None:
    if not run.is_begun:
        return
    saved = TrainConfig.load(run.workdir)
    # The folder may have moved; that the network is the same has been checked.
    changed = saved.replace(model=run.config.network.model).differences(run.config)
    if changed:
        raise UserError(
            f"{run.workdir} was trained with other values ({', '.join(changed)}); give the same "
            "flags as then, or name another --output"
        )


def _work_off(runs: Sequence[_Run]) -> None:
    failures = []
    for number, run in enumerate(runs, 1):
        title = f"training {number} of {len(runs)}: {run.name}, seed {run.seed}"
        if run.is_done:
            print(f"{title}: already done, in {run.workdir}", flush=True)
            continue
        print(f"{title}, in {run.workdir}", flush=True)
        run.workdir.mkdir(parents=True, exist_ok=True)
        keras.backend.clear_session()
        make_task, load = tasks.choose(run.config)
        try:
            loop.train(run.config, run.is_begun, _QUEUED[make_task], load)
        except UserError as error:
            failures.append(f"{run.name}, seed {run.seed}: {error}")
    if failures:
        raise UserError(
            f"{len(failures)} of {len(runs)} trainings failed, the others are done; fix the cause "
            f"and run the same command again: {'; '.join(failures)}"
        )


class _Queued:
    """What the tasks of a queue have in common."""

    def resume_command(self) -> str:
        """Returns what to type to resume the run."""
        return "the same command again"


class _QueuedTask(_Queued, Task):
    """The task of training a classifier of the queue."""


class _QueuedDetection(_Queued, DetectionTask):
    """The task of training a detector of the queue."""


_QUEUED = {Task: _QueuedTask, DetectionTask: _QueuedDetection}


def _trained(name: str, workdirs: Sequence[Path]) -> Trained:
    configs = [TrainConfig.load(workdir).to_flat() for workdir in workdirs]
    values = [{k: v for k, v in config.items() if k not in _OF_A_RUN} for config in configs]
    for workdir, settings in zip(workdirs, values, strict=True):
        changed = [key for key, value in settings.items() if value != values[0][key]]
        if changed:
            raise UserError(
                f"{workdir} and {workdirs[0]} were trained with different values of "
                f"{', '.join(changed)}; remove one of them"
            )
    scores = {
        one["seed"]: _last_scores(workdir) for one, workdir in zip(configs, workdirs, strict=True)
    }
    counted = complexity(load_model(workdirs[0].parent / _NETWORK))
    return Trained(name, counted.macs, counted.parameters, scores, values[0])


def _accuracy(found: Trained) -> Accuracy:
    top1 = {seed: scores["top1"] for seed, scores in found.evaluations.items()}
    size = (found.macs, found.parameters, found.images)
    return Accuracy(found.name, *size, top1, found.settings)


def _last_scores(workdir: Path) -> dict[str, Any]:
    try:
        return last_evaluation(workdir)
    except (OSError, IndexError, ValueError) as error:
        raise UserError(
            f"{workdir / METRICS_FILE} of a finished training cannot be read ({error}); remove "
            f"{workdir} to train again"
        ) from None
