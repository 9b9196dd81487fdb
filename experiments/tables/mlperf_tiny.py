"""ShuffleNets beside the reference models of MLPerf Tiny: flash, arena, time and accuracy."""

import functools
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from common.child_process import module_command
from common.cli import UserError
from common.console.table import markdown_table
from common.storage.readers import read_json
from converters.conversion.tflite import convert_fake_quant
from converters.graph.deployment import deployment_graph
from converters.graph.scales import scale_groups
from converters.micro_target.fitting import fit
from converters.micro_target.settings import MemorySettings
from converters.quantization.fake_quantization import fake_quant_model
from converters.random_weights import random_network
from experiments.measuring.micro_costs import Cost, measure_costs
from experiments.networks.tiny import CIFAR, VISUAL_WAKE_WORDS, Tiny, build
from experiments.training.config import QueueConfig
from experiments.training.queue import Training, finished, network_folder, train_all
from keras_shufflenet.complexity import complexity
from trainers.task import Task

# The quality that MLPerf Tiny demands of image classification.
TARGET = 0.85
# Trainings are compared on a tenth of the training images; the test images are for the chosen one.
SPLITS = {"train_split": "train[:90%]", "eval_split": "train[90%:]"}
# Any range will do: costs do not depend on the scales.
_RANGE = (-4.0, 4.0)
_FILE = "deployment_int8_ptq.tflite"
_KIB = 1024


@dataclass(frozen=True)
class TinyTask:
    """A task of MLPerf Tiny.

    Attributes:
      title: its name.
      reference: the file of its reference model.
      candidates: our networks by name.
      input_shape, classes, small_images: as in `experiments.networks.tiny.build`.
    """

    title: str
    reference: str
    candidates: Mapping[str, Tiny]
    input_shape: tuple[int, int, int]
    classes: int
    small_images: bool


TASKS = {
    "image_classification": TinyTask(
        "Image classification, CIFAR-10",
        "pretrainedResnet_quant.tflite",
        *(CIFAR, (32, 32, 3), 10, True),
    ),
    "visual_wake_words": TinyTask(
        "Visual wake words", "vww_96_int8.tflite", *(VISUAL_WAKE_WORDS, (96, 96, 3), 2, False)
    ),
}


def run(
    references: Path, cache: Path, rounds: int, folder: Path, training: QueueConfig | None = None
) -> dict:
    """Measures both tasks, and the accuracy of what is trained, as JSON values.

    Args:
      references: folder of the reference models.
      cache: folder of measured arenas.
      rounds: inferences of each file, in turn.
      folder: of the trainings; finished ones are used, whether or not more are asked for.
      training: what to train before, or None.

    Raises:
      UserError: a reference model is missing, or a training or a command failed.
    """
    known = {name: _reference(references, task) for name, task in TASKS.items()}
    task = TASKS["image_classification"]
    if training is not None:
        train_all([Training(*pair) for pair in _builders(task).items()], training)
    artifacts = _artifacts(task, folder)
    accuracies = {name: _accuracies(artifact) for name, artifact in artifacts.items()}
    rows = {
        name: _costs(one, known[name], cache, rounds, artifacts if one is task else {})
        for name, one in TASKS.items()
    }
    chosen = choose(rows["image_classification"], accuracies)
    if chosen is not None:
        accuracies[chosen]["test"] = _test_accuracy(network_folder(folder, chosen))
    return {"tasks": rows, "accuracies": accuracies, "chosen": chosen}


def choose(rows: Sequence[Mapping[str, Any]], accuracies: Mapping[str, Mapping]) -> str | None:
    """Returns the most accurate of the networks that cost less than the reference in all three.

    Args:
      rows: of a task, the reference first.
      accuracies: by network, with `choice`, the accuracy of its int8 file on held-out training
        images.

    Returns:
      Its name; None if no such network is trained.
    """
    reference = Cost(**rows[0]["cost"])
    cheaper = [row["network"] for row in rows[1:] if Cost(**row["cost"]).within(reference)]
    trained = [name for name in cheaper if name in accuracies]
    return max(trained, key=lambda name: accuracies[name]["choice"], default=None)


def _reference(folder: Path, task: TinyTask) -> bytes:
    path = folder / task.reference
    if not path.is_file():
        raise UserError(f"{path} is missing; copy it from github.com/mlcommons/tiny")
    return path.read_bytes()


def _builders(task: TinyTask) -> dict[str, functools.partial]:
    return {name: functools.partial(build, tiny) for name, tiny in task.candidates.items()}


def _costs(
    task: TinyTask, reference: bytes, cache: Path, rounds: int, artifacts: Mapping[str, Path]
) -> list[dict]:
    """Returns the rows of a task: what is trained counts as it was converted."""
    contents, macs = {"reference": reference}, {"reference": None}
    for name, tiny in task.candidates.items():
        # Otherwise Keras would keep all of them in memory.
        keras.utils.clear_session()
        make = functools.partial(build, tiny, task.input_shape, task.classes, task.small_images)
        model = random_network(make)
        artifact = artifacts.get(name)
        contents[name] = (artifact / _FILE).read_bytes() if artifact else _int8(model, cache)
        macs[name] = complexity(model).macs
    costs = measure_costs(contents, rounds)
    return [
        {"network": name, "macs": macs[name], "cost": asdict(cost)} for name, cost in costs.items()
    ]


def _int8(model: keras.Model, cache: Path) -> bytes:
    graph = deployment_graph(model, "micro")
    ranges = dict.fromkeys(scale_groups(graph).values(), _RANGE)
    content = convert_fake_quant(fake_quant_model(graph, ranges))
    return fit(content, MemorySettings(), cache).content


def _artifacts(task: TinyTask, folder: Path) -> dict[str, Path]:
    """Returns by network the artifact of what is trained, with its accuracies in the manifest."""
    found = {}
    for name in finished(task.candidates, folder):
        workdir = _workdir(network_folder(folder, name))
        found[name] = artifact = workdir / "artifact"
        if not artifact.is_dir():
            _command(
                *("converters.convert", f"--model={workdir}", f"--output={artifact}"),
                *("--target=micro", "--quantization=int8-ptq", "--samples=10000"),
            )
    return found


def _accuracies(artifact: Path) -> dict[str, float | None]:
    """Returns the float and int8 accuracy on the held-out training images."""
    manifest = read_json(artifact / "manifest.json", "convert again")
    choice = manifest["files"][_FILE]["accuracy"]
    return {"float": manifest["model"]["accuracy"], "choice": choice, "test": None}


def _test_accuracy(folder: Path) -> float:
    workdir = _workdir(folder)
    output = workdir / "test"
    if not (output / "evaluation.json").is_file():
        _command(
            *("trainers.evaluate", f"--model={workdir / 'artifact' / _FILE}"),
            *(f"--workdir={workdir}", "--split=test", f"--output={output}"),
        )
    return read_json(output / "evaluation.json", "remove it")["top1"]


def _workdir(folder: Path) -> Path:
    return min(path for path in folder.glob("seed*") if (path / Task.final_file).is_file())


def _command(module: str, *arguments: str) -> None:
    done = subprocess.run(module_command(module, *arguments), check=False)
    if done.returncode:
        raise UserError(f"python -m {module} failed (see above); the same command goes on")


def to_markdown(found: Mapping[str, Any]) -> str:
    """Returns the tables of what `run` returns, and a sentence about what was reached."""
    parts = []
    for name, rows in found["tasks"].items():
        accuracies = found["accuracies"] if name == "image_classification" else {}
        parts.append(f"**{TASKS[name].title}**\n\n{_table(rows, accuracies)}")
    return "\n\n".join([*parts, verdict(found)])


def verdict(found: Mapping[str, Any]) -> str:
    """Returns what was reached for image classification, in a sentence."""
    chosen = found["chosen"]
    if chosen is None:
        return "No network that costs less than the reference in all three is trained yet."
    reached = found["accuracies"][chosen]["test"]
    word = "reaches" if reached >= TARGET else "misses"
    return (
        f"`{chosen}`, the most accurate on the held-out training images of those that cost less in "
        f"all three, has {reached:.2%} on the test images in int8: it {word} MLPerf Tiny's "
        f"{TARGET:.0%}."
    )


def _table(rows: Sequence[Mapping[str, Any]], accuracies: Mapping[str, Mapping]) -> str:
    headers = [
        *("network", "million MACs", "flash, bytes", "arena, bytes", "time / reference"),
        *("less in all three", "float, held-out", "int8, held-out", "int8, test"),
    ]
    reference = Cost(**rows[0]["cost"])
    return markdown_table(headers, [_cells(row, reference, accuracies) for row in rows])


def _cells(row: Mapping, reference: Cost, accuracies: Mapping[str, Mapping]) -> list[str]:
    cost, scores = Cost(**row["cost"]), accuracies.get(row["network"], {})
    shares = [scores.get(key) for key in ("float", "choice", "test")]
    return [
        row["network"],
        "-" if row["macs"] is None else f"{row['macs'] / 1e6:.2f}",
        f"{cost.flash_bytes:,}",
        f"{cost.arena_bytes:,}",
        f"{cost.fastest_ms / reference.fastest_ms:.2f}",
        "-" if row["network"] == "reference" else "yes" if cost.within(reference) else "no",
        *("-" if share is None else f"{share:.2%}" for share in shares),
    ]
