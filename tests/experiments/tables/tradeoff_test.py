import json

import pytest

from common.cli import UserError
from experiments.tables.tradeoff import Point, front, measured_points


def point(name, ms, top1):
    return Point("family", name, top1, "published", {"ms": ms}, {"ms": f"{ms}"})


def test_the_front_has_what_no_other_beats():
    points = [
        point("slow and bad", 3.0, 0.60),
        point("best", 4.0, 0.80),
        point("fast", 1.0, 0.65),
        point("as fast but worse", 1.0, 0.64),
        point("not measured", float("nan"), 0.99),
    ]
    assert [one.name for one in front(points, "ms")] == ["fast", "best"]


def record(**changes):
    latency = {"median": 2.0, "mean": 2.1, "p10": 1.9, "p90": 2.4}
    return {
        "model": "m", "device": "host", "file": "a.tflite", "accuracy": 0.9,
        "accuracy_images": 100, "latency_ms": latency, **changes,
    }  # fmt: skip


def test_measured_accuracies_are_marked(tmp_path):
    path = tmp_path / "m.jsonl"
    only_mean = {"median": None, "mean": 5.0, "p10": None, "p90": None}
    records = [record(), record(accuracy=None), record(file="b.tflite", latency_ms=only_mean)]
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    first, second = measured_points(path)
    assert first.source == "measured here on 100 images" and first.family == "m, host"
    assert first.shown == {"ms": "2.000 (1.900-2.400)"} and second.costs == {"ms": 5.0}


def test_measurements_without_accuracy_are_refused(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(record(accuracy=None)) + "\n")
    with pytest.raises(UserError, match=r"m\.jsonl has no measurement with an accuracy"):
        measured_points(path)
    with pytest.raises(UserError, match="does not exist; make it with"):
        measured_points(tmp_path / "none.jsonl")
