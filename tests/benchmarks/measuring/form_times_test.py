import dataclasses

import numpy as np
import pytest

from benchmarks.measuring.form_times import FormTimesConfig, form_table, lowerings
from common.cli import UserError
from converters.graph.targets import LOWERINGS
from edge.running.side_by_side import Turns

TURNS = Turns(rounds=2, processes=1, invokes=1, core=0)
CONFIG = FormTimesConfig(("v1-1x-g3",), "cpu", "average_pool", ("pool", "depthwise"), TURNS)


def test_lowerings_differ_only_in_the_field():
    changed = lowerings(CONFIG)
    assert list(changed) == ["pool", "depthwise"]
    assert changed["depthwise"] == LOWERINGS["cpu"] != changed["pool"]
    assert dataclasses.replace(changed["pool"], average_pool="depthwise") == LOWERINGS["cpu"]


def test_numbers_are_numbers():
    config = dataclasses.replace(CONFIG, field="producers", values=("1", "4"))
    assert [lowering.producers for lowering in lowerings(config).values()] == [1, 4]
    with pytest.raises(UserError, match=r"producers: .*'many'"):
        lowerings(dataclasses.replace(config, values=("many",)))


def test_unknown_value_is_refused():
    with pytest.raises(UserError, match=r"`average_pool` must be one of .*'max'"):
        lowerings(dataclasses.replace(CONFIG, values=("pool", "max")))


def test_unknown_field_is_refused():
    with pytest.raises(UserError, match=r"no field 'pool'; --field: .*average_pool"):
        lowerings(dataclasses.replace(CONFIG, field="pool"))


def test_ratios_are_of_the_same_round():
    # The second round is twice as slow for both.
    table = form_table(CONFIG, {"v1-1x-g3": np.array([[3.0, 6.0], [2.0, 4.0]])})
    assert table.splitlines()[2:] == [
        "| v1-1x-g3 | pool | 4.500 (3.300-5.700) | 1.00x (1.00-1.00) |",
        "| v1-1x-g3 | depthwise | 3.000 (2.200-3.800) | 1.50x (1.50-1.50) |",
    ]
