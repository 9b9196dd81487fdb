"""The trainings whose accuracy is measured: the commands that a user types, and their results.

Flags are defined by a call, not by the import: a module that defines flags is a command.
"""

import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import flags

from common.child_process import module_command
from common.choices import choose
from common.cli import UserError
from common.console.table import markdown_table
from edge.running.measurement import spread
from edge.running.side_by_side import interleave
from trainers import recipes
from trainers.config import TrainConfig
from trainers.reporting.metrics import last_evaluation

FLAGS = flags.FLAGS
# The flags belong to the calling command, whose --help shows them.
flags.disclaim_key_flags()
# More than any test split has: all of its images are evaluated.
_ALL_IMAGES = 1_000_000
# For the cost of a step: steps per round, and rounds of both trainings.
_STEPS, _TURNS = 100, 3

# By name: the flags that differ from the recipe.
NETWORKS = {
    "v2-0.5x": ("--model=shufflenet_v2", "--scale=0.5"),
    "v1-0.5x-g3": ("--model=shufflenet_v1", "--scale=0.5", "--groups=3"),
}
# Networks without a deployment graph, trained with the same recipe for comparison.
RIVALS = {"mobilenet-v2": ("--model=mobilenet_v2", "--scale=0.5")}
# The flags of the conversion, by row of the table.
_CONVERSIONS = {
    "canonical PTQ": ("--graph=canonical", "--quantization=int8-ptq"),
    "deployment PTQ, minmax": ("--quantization=int8-ptq", "--ranges=minmax"),
    "deployment PTQ, percentile": ("--quantization=int8-ptq", "--ranges=percentile"),
    "deployment PTQ, mse": ("--quantization=int8-ptq", "--ranges=mse"),
    "deployment QAT": ("--quantization=int8-qat",),
}


@dataclass(frozen=True)
class AccuracyConfig:
    """What to train, for how long, on what, and where: the flags of `define_flags`.

    Attributes:
      networks: keys of `NETWORKS` or `RIVALS`.
      recipe: of all networks.
      dataset, data_dir: like the flags of `trainers.train`.
      epochs: of the float training; None: the recipe's.
      workdirs: folder of the trainings; finished ones are not repeated.
    """

    networks: tuple[str, ...]
    recipe: str
    dataset: str
    data_dir: str | None
    epochs: int | None
    workdirs: Path

    @property
    def length(self) -> tuple[str, ...]:
        """The flag that says how long to train; none: as long as the recipe says."""
        return () if self.epochs is None else (f"--epochs={self.epochs}",)


def define_flags(recipe: str, workdirs: str) -> None:
    """Defines the flags of benchmarks that train; a command calls it at its top.

    Args:
      recipe, workdirs: the defaults.
    """
    flags.DEFINE_string("recipe", recipe, f"Of all trainings: {', '.join(recipes.RECIPES)}.")
    flags.DEFINE_list("networks", None, "Networks to train, separated by commas; all by default.")
    flags.DEFINE_string("dataset", "cifar10", "As in `shufflenet train`.")
    flags.DEFINE_string("data_dir", None, "As in `shufflenet train`.")
    flags.DEFINE_integer(
        "epochs", None, "Epochs of every float training (default: the recipe's).", lower_bound=1
    )
    flags.DEFINE_string("workdirs", workdirs, "Folder of the trainings, kept for the next run.")


def read_flags(known: Collection[str]) -> AccuracyConfig:
    """Returns what the command line says.

    Args:
      known: the networks that may be named.

    Raises:
      UserError: an unknown network is named.
    """
    return AccuracyConfig(
        networks=choose("network", FLAGS.networks or None, known),
        recipe=FLAGS.recipe,
        dataset=FLAGS.dataset,
        # Workdirs remember it, and the next command may start in another folder.
        data_dir=None if FLAGS.data_dir is None else str(Path(FLAGS.data_dir).absolute()),
        epochs=FLAGS.epochs,
        workdirs=Path(FLAGS.workdirs),
    )


def measure(name: str, config: AccuracyConfig, qat_epochs: int) -> dict:
    """Trains a network in float and with quantization, converts it, and evaluates all test images.

    Args:
      name: a key of `NETWORKS`.
      config: how it is trained in float; its `networks` are ignored.
      qat_epochs: epochs with quantization.

    Returns:
      `images`, `float`, and per conversion `accuracy` and `argmax`, the share of images with the
      class of the float model; `qat_step_cost`, the ratio of a quantized step's time to a float
      step's.

    Raises:
      UserError: one of the commands failed; its own message says why.
    """
    workdir = config.workdirs / name
    train(workdir, name, config, *config.length)
    if not (workdir / "qat" / "fake_quant.weights.h5").exists():
        epochs = f"--epochs={qat_epochs}"
        run_command("converters.quantize", f"--model={workdir}", epochs, "--resume")
    manifests = {
        column: convert(workdir, config.workdirs / f"{name}-artifact", *flags)
        for column, flags in _CONVERSIONS.items()
    }
    model = next(iter(manifests.values()))["model"]
    return {
        "images": model["accuracy_images"],
        "macs": model["macs"],
        "float": model["accuracy"],
        "converted": {column: _scores(manifest) for column, manifest in manifests.items()},
        "epochs": TrainConfig.load(workdir).optimization.epochs,
        "qat_epochs": qat_epochs,
        "qat_step_cost": _qat_step_cost(workdir, name, config),
    }


def accuracy_table(networks: dict[str, dict]) -> str:
    """Returns a markdown table: a column per network, with the change and the agreement."""
    rows = [["float", *(f"{result['float']:.2%}" for result in networks.values())]]
    for column in _CONVERSIONS:
        scores = [(result["float"], result["converted"][column]) for result in networks.values()]
        rows.append([column, *(_cell(exact, **score) for exact, score in scores)])
    cost = [f"{r['qat_epochs']} epochs, {r['qat_step_cost']:.2f}x" for r in networks.values()]
    rows.append(["QAT: length, time of a step over float's", *cost])
    return markdown_table(["", *networks], rows)


def _cell(exact: float, accuracy: float, argmax: float) -> str:
    return f"{accuracy:.2%} ({100 * (accuracy - exact):+.2f}; {argmax:.2%})"


def _scores(manifest: dict) -> dict[str, float]:
    (entry,) = manifest["files"].values()
    return {"accuracy": entry["accuracy"], "argmax": entry["agreement"]["argmax"]}


def convert(workdir: Path, artifact: Path, *flags: str) -> dict:
    """Converts, with all test images as samples, and returns the manifest.

    Raises:
      UserError: the command failed; its own message says why.
    """
    run_command(
        "converters.convert", f"--model={workdir}", f"--output={artifact}", "--overwrite",
        f"--samples={_ALL_IMAGES}", *flags,
    )  # fmt: skip
    return json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))


def _qat_step_cost(workdir: Path, name: str, config: AccuracyConfig) -> float:
    """Returns the ratio of a quantized step's time to a float step's, in interleaved rounds."""
    with tempfile.TemporaryDirectory() as folder:
        # A new workdir for each training.
        places = (Path(folder, str(number)) for number in itertools.count())

        def plain() -> float:
            place = next(places)
            train(place, name, config, f"--steps={_STEPS}")
            return last_evaluation(place)["images_per_second"]

        def quantized() -> float:
            place = next(places)
            flags = (f"--workdir={place}", f"--steps={_STEPS}")
            run_command("converters.quantize", f"--model={workdir}", *flags)
            return last_evaluation(place)["images_per_second"]

        rates = interleave({"float": plain, "qat": quantized}, _TURNS)
    return spread(np.divide(rates["float"], rates["qat"]))["median"]


def train(workdir: Path, name: str, config: AccuracyConfig, *length: str) -> None:
    """Trains a network, or resumes its training, unless it is finished.

    Args:
      workdir: of the training.
      name: a key of `NETWORKS` or `RIVALS`.
      config: only its recipe, dataset and data_dir are used.
      length: the flag that says how long; none: as long as the recipe says.

    Raises:
      UserError: the command failed; its own message says why.
    """
    if (workdir / "model.keras").exists():
        return
    data = () if config.data_dir is None else (f"--data_dir={config.data_dir}",)
    run_command(
        "trainers.train", f"--recipe={config.recipe}", f"--dataset={config.dataset}", *data,
        *{**NETWORKS, **RIVALS}[name], *length, f"--workdir={workdir}", "--resume",
    )  # fmt: skip


def run_command(
    module: str, *args: str, silent: bool = False, env: Mapping[str, str] | None = None
) -> None:
    """Prints a command and runs it as if a user had typed it.

    Args:
      module: as in `python -m`.
      args: its flags.
      silent: whether that line and its standard output are hidden.
      env: added to the environment.

    Raises:
      UserError: the command failed; its own message says why.
    """
    if not silent:
        print(f"== python -m {module} {' '.join(args)}", flush=True)
    done = subprocess.run(
        module_command(module, *args),
        env={**os.environ, **(env or {})},
        stdout=subprocess.DEVNULL if silent else None,
        check=False,
    )
    if done.returncode:
        raise UserError(f"python -m {module} failed (see above); fix it and start again")
