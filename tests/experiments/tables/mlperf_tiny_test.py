import json
from pathlib import Path

import pytest

from common.cli import UserError
from experiments.measuring.micro_costs import Cost, measure_costs
from experiments.networks.tiny import CIFAR, Tiny, build
from experiments.tables import mlperf_tiny
from experiments.tables.mlperf_tiny import choose, run, to_markdown
from keras_shufflenet.complexity import complexity

REFERENCES = Path(__file__).resolve().parents[4] / "shared/fixtures/mlperf_tiny"


def row(name, flash, arena, milliseconds):
    cost = {"flash_bytes": flash, "arena_bytes": arena, "fastest_ms": milliseconds}
    return {"network": name, "macs": 2_000_000, "cost": cost}


ROWS = [
    row("reference", 100, 100, 10.0),
    row("small", 50, 50, 2.0),
    row("large", 90, 99, 9.0),
    row("slow", 90, 90, 11.0),
]


def scores(choice, test=None):
    return {"float": choice + 0.01, "choice": choice, "test": test}


def test_the_most_accurate_that_costs_less_in_all_three_is_chosen():
    accuracies = {"small": scores(0.80), "large": scores(0.84), "slow": scores(0.90)}
    assert choose(ROWS, accuracies) == "large"
    # What is not trained cannot be chosen, and a network that is slower is not.
    assert choose(ROWS, {"small": scores(0.80), "slow": scores(0.90)}) == "small"
    assert choose(ROWS, {"slow": scores(0.90)}) is None


def test_tables_say_what_was_reached():
    found = {
        "tasks": {"image_classification": ROWS, "visual_wake_words": ROWS[:2]},
        "accuracies": {"large": scores(0.86, 0.8512)},
        "chosen": "large",
    }
    text = to_markdown(found)
    assert "| large | 2.00 | 90 | 99 | 0.90 | yes | 87.00% | 86.00% | 85.12% |" in text
    assert "| slow | 2.00 | 90 | 90 | 1.10 | no | - | - | - |" in text
    assert "has 85.12% on the test images in int8: it reaches MLPerf Tiny's 85%" in text
    missed = {**found, "accuracies": {"large": scores(0.86, 0.8499)}}
    assert "it misses MLPerf Tiny's 85%" in to_markdown(missed)
    assert "is trained yet" in to_markdown({**found, "accuracies": {}, "chosen": None})


def test_candidates_have_their_units():
    two = build(CIFAR["v2-24-48-80-96-96 (2-3-1 units)"], (32, 32, 3), 10, small_images=True)
    assert [layer.name for layer in two.layers if layer.name.startswith("stage4")] == [
        "stage4_unit1"
    ]
    assert complexity(build(Tiny(8, (16, 32, 64), 128), (32, 32, 3), 10, True)).macs < 1_500_000


def test_costs_are_compared_in_one_run():
    pytest.importorskip("tflite_micro", reason="needs the extra micro")
    path = REFERENCES / "pretrainedResnet_quant.tflite"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    cost = measure_costs({"reference": path.read_bytes()}, rounds=1)["reference"]
    assert (cost.flash_bytes, cost.arena_bytes) == (98_496, 55_984)
    assert cost.within(Cost(98_497, 55_985, 1e9)) and not cost.within(cost)


def test_a_missing_reference_is_named(tmp_path):
    with pytest.raises(UserError, match=r"pretrainedResnet_quant\.tflite is missing; copy it from"):
        run(tmp_path, tmp_path, 1, tmp_path)


def test_a_finished_training_is_converted_once_and_only_the_chosen_is_tested(tmp_path, monkeypatch):
    name = "v2-8-16-32-64-128"
    workdir = mlperf_tiny.network_folder(tmp_path, name) / "seed0"
    workdir.mkdir(parents=True)
    (workdir / mlperf_tiny.Task.final_file).touch()
    commands = []

    def command(module, *arguments):
        commands.append(module)
        target = dict(word.lstrip("-").split("=", 1) for word in arguments)["output"]
        Path(target).mkdir()
        manifest = {
            "model": {"accuracy": 0.81},
            "files": {"deployment_int8_ptq.tflite": {"accuracy": 0.8}},
        }
        (Path(target) / "manifest.json").write_text(json.dumps(manifest))
        (Path(target) / "evaluation.json").write_text('{"top1": 0.79}')

    monkeypatch.setattr(mlperf_tiny, "finished", lambda names, folder: {name: None})
    monkeypatch.setattr(mlperf_tiny, "_command", command)
    task = mlperf_tiny.TASKS["image_classification"]
    for _ in range(2):
        (artifact,) = mlperf_tiny._artifacts(task, tmp_path).values()
        assert artifact == workdir / "artifact"
        expected = {"float": 0.81, "choice": 0.8, "test": None}
        assert mlperf_tiny._accuracies(artifact) == expected
        assert mlperf_tiny._test_accuracy(mlperf_tiny.network_folder(tmp_path, name)) == 0.79
    assert commands == ["converters.convert", "trainers.evaluate"]
