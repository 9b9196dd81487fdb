import json

import pytest

from edge.measurement import (
    append_measurements,
    check_writable,
    describe_machine,
    read_measurements,
    statistics,
)
from trainers.cli import UserError


def test_statistics_of_known_numbers():
    found = statistics([float(number) for number in range(100, -1, -1)])
    assert found == {"median": 50, "p10": 10, "p90": 90, "min": 0, "mean": 50, "runs": 101}
    found = statistics([1.0, 2.0, 3.0, 10.0])
    assert (found["median"], found["mean"], found["min"]) == (2.5, 4.0, 1.0)
    assert statistics([7.0]) == dict.fromkeys(("median", "p10", "p90", "min", "mean"), 7.0) | {
        "runs": 1
    }


def test_no_timings_are_refused():
    with pytest.raises(ValueError, match="milliseconds must hold at least one"):
        statistics([])


def test_records_are_appended_and_read(tmp_path):
    path = tmp_path / "measurements.jsonl"
    append_measurements(path, [{"a": 1}, {"a": 2}])
    append_measurements(path, [{"a": "ä"}])
    assert read_measurements(path) == [{"a": 1}, {"a": 2}, {"a": "ä"}]
    assert path.read_text().count("\n") == 3


@pytest.mark.parametrize("torn", ['{"a": 2, "b', '{"a": 2}'])
def test_torn_last_line_does_not_spoil_what_follows(tmp_path, torn):
    path = tmp_path / "measurements.jsonl"
    path.write_text('{"a": 1}\n' + torn)
    append_measurements(path, [{"a": 3}])
    assert path.read_text() == '{"a": 1}\n' + torn + '\n{"a": 3}\n'


def test_torn_lines_are_skipped_and_named(tmp_path, capsys):
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
        check_writable(tmp_path / "no folder" / "measurements.jsonl")


def test_machine_is_described_in_json():
    machine = json.loads(json.dumps(describe_machine()))
    assert machine["cpu"] and machine["cores"] >= 1
    assert set(machine) >= {"governor", "load_average", "platform", "python", "litert"}
