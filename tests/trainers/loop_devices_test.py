"""The loop on several devices."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from keras_shufflenet.keras_internals import flat_layers
from trainers import consistency
from trainers.networks.models import load_model
from trainers.recipes import make_config

pytestmark = pytest.mark.medium

ROOT = Path(__file__).resolve().parents[2]
VALUES = {
    "steps": 6,
    "batch_size": 16,
    "eval_split": "test[:50]",
    "eval_every": 3,
    "checkpoint_every": 2,
    "warmup_epochs": 0,
    "optimizer": "muon",
    "ema_decay": 0.5,
    "batch_norm_steps": 1,
    "strategy": "mirrored",
    "devices": 2,
}

MIRRORED = """
import sys
import keras
import pytest
import keras_shufflenet
from trainers import loop
from trainers.config import TrainConfig
from trainers.data import pipeline
from trainers.data.datasets import load_source
from trainers.distribution.strategy import make_strategy
from trainers.optimization import averaging
from trainers.task import Task

real = keras_shufflenet.ShuffleNetV2
small = {"units_per_stage": (1, 1, 1), "stage_channels": (8, 16, 24), "head_channels": 16}
keras_shufflenet.ShuffleNetV2 = lambda scale, **arguments: real(**arguments, **small)
config = TrainConfig.load(sys.argv[1])
size, data = config.optimization.batch_size, config.data
two = make_strategy(config.placement, size)
one = make_strategy(config.replace(strategy="one").placement, size)
sources = [load_source(data, split) for split in (data.train_split, data.eval_split)]

# A whole run: all devices have the same values, including moving statistics.
trainer = loop.Trainer(Task(config), two, *sources)
trainer.start(resume=False)
trainer.run()
variables = [v.value for v in trainer.model.weights + trainer.optimizer.variables]
for variable in variables + trainer._average.shadows:
    first, second = two.experimental_local_results(variable)
    assert (first.numpy() == second.numpy()).all(), variable.name
    assert first.device != second.device

# Two devices compared with one. In double precision, because a ReLU whose input is a rounding error
# away from 0 would hide an error of the loop.
keras.config.set_floatx("float64")
keras.config.set_dtype_policy("float64")
weights = []
for where in (two, one):
    trainer = loop.Trainer(Task(config), where, *sources)
    batches = where.experimental_distribute_dataset(
        pipeline.training_batches(config, sources[0], 0)
    )
    iterator = iter(batches)
    start = trainer.model.trainable_variables[0].numpy()
    for _ in range(2):
        trainer._train_step(iterator)
    with trainer._averaged():
        averaging.BatchNormStatistics(trainer.model, where).reestimate([next(iterator)])
    assert abs(trainer.model.trainable_variables[0].numpy() - start).max() > 1e-3
    weights.append([weight.numpy() for weight in trainer.model.weights + trainer._average.shadows])
difference = max(abs(first - second).max() for first, second in zip(*weights))
assert difference < 1e-9, difference
"""


def test_two_devices_train_as_one(tmp_path):
    workdir = tmp_path / "work"
    workdir.mkdir()
    values = {**VALUES, "data_dir": str(tmp_path / "tfds")}
    make_config("digits", str(workdir), values).save(workdir)
    # In a separate process, because a process can divide its CPU only before it uses it.
    command = [sys.executable, "-c", MIRRORED, str(workdir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["eval_images"] for line in lines] == [50, 50]
    layers = flat_layers(load_model(workdir / "model.keras"))
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) > 10 and not any(layer.synchronized for layer in norms)


def test_another_number_of_devices_is_reported(tmp_path, capsys):
    for devices in (2, 2):
        consistency.note_devices(tmp_path, devices)
    assert capsys.readouterr().out == ""
    consistency.note_devices(tmp_path, 3)
    assert "resuming on 3 devices (was 2): gradients are added up in" in capsys.readouterr().out
    consistency.note_devices(tmp_path, 3)
    assert capsys.readouterr().out == ""
