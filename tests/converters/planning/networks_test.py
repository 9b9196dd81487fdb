import json
import subprocess
import sys

import pytest

from converters.planning import detectors, networks
from converters.planning.config import Budget, PlanConfig
from converters.planning.search import Fit, training_command
from trainers.config import TrainConfig
from trainers.detection.task import DetectionTask, open_sources
from trainers.networks.models import build_model

NAMES = ("v2-8-16-32-64-128", "v2-1.5x", "v1-0.5x-g4")
# One process for each command, because a flag keeps its value.
_PARSE = """
import json, sys
from absl import flags
from trainers import train
flags.FLAGS(sys.argv)
print(json.dumps(train._config_of_recipe().to_flat()))
"""


def config_of(flags):
    done = subprocess.run(
        [sys.executable, "-c", _PARSE, *flags], capture_output=True, text=True, check=True
    )
    return TrainConfig.from_flat(json.loads(done.stdout))


@pytest.mark.parametrize(("name", "channels"), list(zip(NAMES, (1, 3, 1), strict=True)))
def test_what_is_planned_is_what_its_command_trains(name, channels):
    plan = PlanConfig(budget=Budget(sram=1e6), channels=channels)
    command = training_command(Fit(name, 96, 0, 0, 0, None, None), plan).split()
    assert command[:2] == ["shufflenet", "train"]
    config = config_of(command[2:])
    assert (config.data.data_dir, config.workdir) == ("PHOTOS", f"{name}-96px")
    assert (config.data.channels or 3) == channels
    trained = build_model(config.network, config.images, channels, classes=7)
    planned = networks.build(name, 96, channels, classes=7)
    assert trained.input_shape == planned.input_shape == (None, 96, 96, channels)
    assert [w.shape for w in trained.weights] == [w.shape for w in planned.weights]


@pytest.mark.parametrize(
    ("name", "strides"), [("v2-8-16-32-64-pan32", (8, 16)), ("v1-0.25x-g3-fused", None)]
)
def test_a_detector_s_command_trains_what_was_planned(name, strides, squares_folder):
    plan = PlanConfig(budget=Budget(sram=1e6), task="detection", strides=strides)
    command = training_command(Fit(name, 96, 0, 0, 0, None, None), plan).split()
    config = config_of(command[2:])
    assert (config.recipe, config.data.data_dir) == ("detection", "PHOTOS")
    (source,) = open_sources(config.replace(data_dir=str(squares_folder)).data, ["train"])
    trained = DetectionTask(config).build(source)
    planned = detectors.build(name, 96, 3, 2, strides)
    assert trained.input_shape == planned.input_shape == (None, 96, 96, 3)
    assert [w.shape for w in trained.weights] == [w.shape for w in planned.weights]
