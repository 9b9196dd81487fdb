import numpy as np

from benchmarks.measuring.side_by_side import latency_table, summarize
from edge.running import worker
from edge.running.measurement import statistics


def summary(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_bytes(b"12345")
    # Two rounds, the second one twice as slow for all.
    return summarize(paths, np.array([[3.0, 6.0], [2.0, 4.0], [1.0, 2.0]]))


def test_ratios_are_of_the_same_round(tmp_path):
    values = summary(tmp_path)
    assert values["canonical_to_deployment"] == {"median": 1.5, "p10": 1.5, "p90": 1.5}
    assert values["deployment_to_floor"] == {"median": 2.0, "p10": 2.0, "p90": 2.0}
    assert values["graphs"]["canonical"] == {**statistics([3.0, 6.0]), "bytes": 5}


def test_table(tmp_path):
    last = latency_table({"v2-1x": summary(tmp_path)}).splitlines()[-1]
    assert last == (
        "| v2-1x | 4.500 (3.300-5.700) | 3.000 (2.200-3.800) | 1.500 (1.100-1.900) "
        "| **1.50x** (1.50-1.50) | 2.00 (2.00-2.00) |"
    )


def test_every_file_is_timed_every_round(artifact_dir):
    # In its own process, because it pins itself to a core.
    path = str(next(iter(sorted(artifact_dir.glob("*int8*.tflite")))))
    request = {"files": [path, path], "rounds": 3, "invokes": 2, "core": 0}
    times = np.array(worker.call("edge.running.timing", request)["milliseconds"])
    assert times.shape == (2, 3) and times.min() > 0
