import json

import numpy as np
import pytest

from common.cli import UserError
from common.files import check_appendable
from edge.running.measurement import (
    append_measurements,
    compare_outputs,
    describe_machine,
    device_name,
    drift,
    graph_pairs,
    interval,
    is_measured,
    read_measurements,
    spread,
    statistics,
)


def test_statistics_of_known_numbers():
    found = statistics([float(number) for number in range(100, -1, -1)])
    assert found == {"median": 50, "p10": 10, "p90": 90, "min": 0, "mean": 50, "runs": 101}
    found = statistics([1.0, 2.0, 3.0, 10.0])
    assert (found["median"], found["mean"], found["min"]) == (2.5, 4.0, 1.0)
    assert statistics([7.0]) == dict.fromkeys(("median", "p10", "p90", "min", "mean"), 7.0) | {
        "runs": 1
    }


def test_no_timings_are_rejected():
    with pytest.raises(ValueError, match="milliseconds must hold at least one"):
        statistics([])


def test_a_spread_is_the_median_and_the_range_of_most():
    found = spread([1.0, 3.0, 1.5])
    assert found == pytest.approx({"median": 1.5, "p10": 1.1, "p90": 2.7})
    assert interval(found, 1, unit="x") == "1.5x (1.1-2.7)"
    assert interval(found, 2, bold=True, unit="x") == "**1.50x** (1.10-2.70)"
    assert interval(spread([1.0, np.nan])) == "-"


def test_drift_is_the_last_tenth_against_the_first():
    assert drift([1.0] * 10 + [7.0] * 80 + [1.25] * 10) == 0.25
    assert drift([1.0] * 19) is None


@pytest.mark.parametrize(
    ("record", "name", "measured"),
    [
        ({"device": "host"}, "host", True),
        ({"device": "android", "place": "R58", "delegate": "gpu"}, "android R58 gpu", True),
        ({"device": "micro-sim", "simulation": True}, "micro-sim (simulated)", False),
        ({"device": "ethosu-model", "estimate": True}, "ethosu-model (estimate)", False),
        ({}, "unknown device", True),
    ],
)
def test_a_devices_name_says_if_it_was_simulated(record, name, measured):
    assert (device_name(record), is_measured(record)) == (name, measured)


def test_pairs_of_graphs_are_the_last_of_each():
    found = ["a canonical 1", "a canonical 2", "b deployment 1", "a deployment 1", "a other 1"]
    pairs = graph_pairs(found, lambda one: one[0], lambda one: one.split()[1])
    assert pairs == [("a canonical 2", "a deployment 1")]


def test_integers_are_compared_in_lsb():
    expected = np.array([[127, -128, 0, 5]], np.int8)
    actual = np.array([[-128, -128, 1, 3]], np.int8)
    found = compare_outputs([expected, expected], [actual, actual])
    # 255, not the -1 of an int8 that wraps around.
    assert found == {"max_lsb": 255, "exact": 0.25, "within_1_lsb": 0.5, "images": 1}


def test_floats_are_compared_by_their_largest_difference():
    found = compare_outputs([np.float32([[1, 2], [3, 4]])], [np.float32([[1, 2], [3, 3.5]])])
    assert found == {"max_abs": 0.5, "images": 2}


def test_records_are_appended_and_read(tmp_path):
    path = tmp_path / "measurements.jsonl"
    append_measurements(path, [{"a": 1}, {"a": 2}])
    append_measurements(path, [{"a": "ä"}])
    assert read_measurements(path) == [{"a": 1}, {"a": 2}, {"a": "ä"}]
    assert path.read_text().count("\n") == 3


@pytest.mark.parametrize("incomplete", ['{"a": 2, "b', '{"a": 2}'])
def test_incomplete_last_line_does_not_affect_the_next(tmp_path, incomplete):
    path = tmp_path / "measurements.jsonl"
    path.write_text('{"a": 1}\n' + incomplete)
    append_measurements(path, [{"a": 3}])
    assert path.read_text() == '{"a": 1}\n' + incomplete + '\n{"a": 3}\n'


def test_incomplete_lines_are_skipped_and_named(tmp_path, capsys):
    path = tmp_path / "measurements.jsonl"
    path.write_text('{"a": 1}\n{"a": \n\n[]\n{"a": 3}\n{"a"')
    assert read_measurements(path) == [{"a": 1}, {"a": 3}]
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == [
        f"{path}:{number}" for number in (2, 4, 6)
    ]


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.jsonl"):
        read_measurements(tmp_path / "none.jsonl")


def test_unwritable_output_is_found_early(tmp_path):
    with pytest.raises(OSError):
        check_appendable(tmp_path / "no folder" / "measurements.jsonl")


def test_machine_is_described_in_json():
    machine = json.loads(json.dumps(describe_machine()))
    assert machine["cpu"] and machine["cores"] >= 1
    assert set(machine) >= {"governor", "load_average", "platform", "python", "litert"}
