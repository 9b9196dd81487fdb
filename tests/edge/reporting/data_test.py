import json
from operator import itemgetter

import pytest

from common.cli import UserError
from edge.reporting.data import (
    accuracy_name,
    by_group,
    canonical_pairs,
    latest,
    manifest_of,
    read_report_data,
)
from edge.reporting.pareto import pareto_front


def read(tmp_path, *records):
    path = tmp_path / "measurements.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return read_report_data([path])


def test_points(record, tmp_path):
    (point,) = read(tmp_path, record(ms=2.0)).points
    assert (point.label, point.group) == ("deployment_int8_ptq.tflite", "host, 1 thread")
    assert (point.ms, point.low, point.high, point.accuracy) == (2.0, 1.9, 2.1, 0.9)
    assert point.text("model") == "v2" and point.text("nothing") == ""


def test_a_detector_s_accuracy_is_its_average_precision(record, tmp_path):
    detector = record("detector.tflite", accuracy=None, ap=0.4, ap50=0.7)
    (point,) = read(tmp_path, detector).points
    assert point.accuracy == 0.4 and accuracy_name([point]) == "AP"
    both = read(tmp_path, detector, record()).points
    assert accuracy_name(both) == "accuracy or AP" and accuracy_name(both[1:]) == "accuracy"
    hostile = read(tmp_path, record(ap="<b>")).points
    assert (hostile[0].accuracy, accuracy_name(hostile)) == (0.9, "accuracy")


def test_what_is_no_device_s_number_says_so(record, tmp_path):
    data = read(
        tmp_path,
        record(device="micro-sim", simulation=True),
        record(device="ethosu-model", estimate=True, threads=None),
        record(device="android", place="R58", delegate="gpu", threads=4),
    )
    assert list(by_group(data.points)) == [
        "micro-sim (simulated)",
        "ethosu-model (estimate)",
        "android R58 gpu, 4 threads",
    ]


def test_machines_of_one_name_are_told_apart(record, tmp_path):
    data = read(tmp_path, record(), record(machine={"cpu": "Xeon"}))
    assert [point.group for point in data.points] == [
        "host, 1 thread, EPYC",
        "host, 1 thread, Xeon",
    ]


def test_artifacts_are_told_apart(record, tmp_path):
    data = read(tmp_path, record(), record(artifact="other"))
    assert [point.label.split(":")[0] for point in data.points] == ["artifact", "other"]


def test_a_mean_stands_in_for_a_median(record, tmp_path):
    latency = {"median": None, "mean": 3.0, "p10": None, "p90": None}
    (point,) = read(tmp_path, record(latency_ms=latency)).points
    assert (point.ms, point.low, point.high) == (3.0, None, None)


@pytest.mark.parametrize("wrong", [-0.1, 57.0, float("inf")])
def test_an_accuracy_that_is_no_share_is_not_shown(record, tmp_path, wrong):
    (point,) = read(tmp_path, record(accuracy=wrong)).points
    assert point.accuracy is None and point.ms > 0


def test_the_last_measurement_of_a_file_counts(record, tmp_path):
    data = read(tmp_path, record(ms=5.0), record("canonical_int8.tflite", 3.0), record(ms=2.0))
    assert [point.ms for point in latest(data.points)] == [2.0, 3.0]
    ((old, new),) = canonical_pairs(data.points)
    assert (old.ms, new.ms) == (3.0, 2.0)


def test_pairs_are_of_one_device_and_quantization(record, tmp_path):
    canonical = "canonical_int8.tflite"
    for other in ({"device": "ssh"}, {"quantization": "none"}, {"artifact": "b"}, {"threads": 2}):
        assert canonical_pairs(read(tmp_path, record(), record(canonical, **other)).points) == []


def test_profiles_of_both_kinds(record, tmp_path):
    kinds = [{"kind": "convolution", "us": 60.0, "share": 0.6, "operators": 3}]
    own = {"kinds": kinds, "method_description": "a profiler", "whole_ms": {"median": 0.1}}
    nodes = [
        {"operator": "Convolution (NHWC, QC8) GEMM", "name": "a", "ms": 0.3, "calls": 1},
        {"operator": "Transpose (ND, X8)", "name": "b", "ms": 0.1, "calls": 1},
    ]
    ours = {"file": "a.tflite", "device": "host", "operator_profile": own}
    data = read(tmp_path, ours, record(device="android", profile={"kinds": [], "nodes": nodes}))
    first, second = data.breakdowns
    assert (first.kinds, first.method, first.whole_us) == (kinds, "a profiler", 100.0)
    assert first.label == "a.tflite on host"
    assert [(one["kind"], one["us"], one["share"]) for one in second.kinds] == [
        ("convolution", 300.0, 0.75),
        ("data movement", 100.0, 0.25),
    ]
    # A profile alone is no measurement; Android's record is both.
    assert len(data.points) == 1 and data.notes == ()


@pytest.mark.parametrize(
    "broken",
    [
        {"latency_ms": "fast"},
        {"latency_ms": {"median": "1"}},
        {"latency_ms": {"median": True, "mean": float("nan")}},
        {"latency_ms": {"median": -1.0, "mean": 2.0}},
        {"latency_ms": {"median": 0.0}},
        {"operator_profile": {"kinds": "many"}},
        {"operator_profile": {"kinds": [{"kind": "convolution", "us": "1"}]}},
        {"operator_profile": {"kinds": [], "method_description": "", "whole_ms": {"median": 1}}},
        {"profile": {"nodes": [{"operator": 7, "ms": 1}]}},
        {},
    ],
)
def test_records_that_are_none_are_counted(record, tmp_path, broken):
    data = read(tmp_path, record(), broken)
    assert len(data.points) == 1 and data.breakdowns == ()
    assert data.notes == ("skipped: 1 of the records, neither measurements nor profiles",)


def test_torn_lines_are_noted(record, tmp_path):
    path = tmp_path / "torn.jsonl"
    path.write_text(json.dumps(record()) + '\n{"device": "ho')
    data = read_report_data([path])
    assert len(data.points) == 1
    assert data.notes == (f"{path}:2 is not a complete record, skipped",)


def test_nothing_to_show_is_an_error(tmp_path):
    with pytest.raises(
        UserError, match=r"measurements\.jsonl; make some with shufflenet benchmark"
    ):
        read(tmp_path)
    with pytest.raises(UserError, match=r"missing\.jsonl does not exist"):
        read_report_data([tmp_path / "missing.jsonl"])


def test_the_manifest_is_the_measured_file_s(artifact_dir, tmp_path):
    manifest = json.loads((artifact_dir / "manifest.json").read_text())
    (file, entry) = next(iter(manifest["files"].items()))
    made = {"artifact": artifact_dir.name, "file": file, "sha256": entry["sha256"]}
    folder, found = manifest_of(made, [tmp_path, artifact_dir.parent])
    assert folder == str(artifact_dir) and found == manifest
    changed = manifest_of({**made, "sha256": "0" * 64}, [artifact_dir.parent])
    assert "was converted again since then" in changed
    assert "does not exist any more" in manifest_of(made, [tmp_path])
    assert "does not exist any more" in manifest_of({"artifact": "a\0b"}, [tmp_path])


def front(points):
    """Returns the names on the Pareto front of (name, cost, value) tuples."""
    return [name for name, *_ in pareto_front(points, cost=itemgetter(1), value=itemgetter(2))]


def test_the_front_has_what_no_other_beats_cheapest_first():
    points = [
        ("c", 3.0, 0.80),
        ("a", 1.0, 0.70),
        ("b", 2.0, 0.65),  # Slower and worse than a.
        ("d", 3.0, 0.75),  # As fast as c and worse.
        ("f", 4.0, 0.80),  # As good as c and slower.
    ]
    assert front(points) == ["a", "c"]


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_what_is_not_known_is_on_no_front(unknown):
    points = [("cost", unknown, 0.99), ("a", 1.0, 0.7), ("value", 0.5, unknown)]
    assert front(points) == ["a"]
    assert front([("cost", unknown, 0.99)]) == []
