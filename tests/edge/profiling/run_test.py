import importlib.metadata

import numpy as np
import pytest

from common.cli import UserError
from edge.profiling.litert import TRIED_VERSIONS
from edge.profiling.run import ProfileRequest, middle_mean, profile_files
from edge.running import worker

INT8, FLOAT = "deployment_int8_ptq.tflite", "deployment_float32.tflite"
FAST = {"runs": 3, "warmup": 1}


VERSION = importlib.metadata.version("ai-edge-litert")
known_version = pytest.mark.skipif(
    not VERSION.startswith(TRIED_VERSIONS), reason=f"no known profiler in ai-edge-litert {VERSION}"
)


@pytest.mark.parametrize("method", [pytest.param("profiler", marks=known_version), "single"])
def test_files_are_profiled_side_by_side(artifact_dir, method):
    paths = [artifact_dir / INT8, artifact_dir / FLOAT]
    for profile in profile_files(paths, ProfileRequest(**FAST, method=method)):
        assert (profile["method"], profile["runs"]) == (method, 3)
        assert profile["whole_ms"]["runs"] == profile["operators_ms"]["runs"] == 3
        operators = profile["operators"]
        assert sum(one["share"] for one in operators) == pytest.approx(1)
        matched = [one for one in operators if "layer" in one]
        # No convolution is left without its layer, and none is counted twice.
        assert sum(one["macs"] for one in matched) == sum(k["macs"] for k in profile["kinds"])
        assert sum(k["operators"] for k in profile["kinds"]) == len(operators)
        assert sum(k["us"] for k in profile["kinds"]) == pytest.approx(
            sum(one["us"] for one in operators)
        )
        rates = [one for one in matched if one["macs_per_second"]]
        for one in rates:
            assert one["macs_per_second"] == pytest.approx(one["macs"] / one["us"] * 1e6)


def test_a_litert_without_profiler_gets_the_other_method_by_name(artifact_dir, monkeypatch, capsys):
    asked = []

    def call(module, request):
        asked.append(request["method"])
        if request["method"] == "profiler":
            raise UserError("its process died with SIGSEGV")
        one = {"whole_ms": [1.0], "names": [None], "indices": [0], "microseconds": [[7.0]]}
        return {"files": [one]}

    monkeypatch.setattr(worker, "call", call)
    (profile,) = profile_files([artifact_dir / INT8])
    assert asked == ["profiler", "single"] and profile["method"] == "single"
    assert profile["operators"][0]["us"] == 7 and profile["operators"][0]["kind"] == "convolution"
    error = capsys.readouterr().err
    assert "SIGSEGV" in error and "each operator as a separate file" in error
    with pytest.raises(UserError, match="SIGSEGV"):
        profile_files([artifact_dir / INT8], ProfileRequest(method="profiler"))


def test_what_no_method_can_is_reported_once(artifact_dir, monkeypatch, capsys):
    def call(module, request):
        raise UserError(f"{request['method']} refused")

    monkeypatch.setattr(worker, "call", call)
    with pytest.raises(UserError, match="single refused"):
        profile_files([artifact_dir / INT8])
    assert capsys.readouterr().err == ""


def test_the_middle_mean_keeps_fractions_and_drops_what_disturbed():
    assert middle_mean(np.array([3, 3, 4, 900])) == 3.5
    assert middle_mean(np.array([5])) == 5
    assert middle_mean(np.array([1, 2, 2, 3, 3, 3, 3, 80])) == 2.75


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"runs": 0}, "runs must be at least 1; received 0"),
        ({"warmup": -1}, "warmup must be at least 0"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"method": "guess"}, "method must be one of auto, profiler, single; received 'guess'"),
    ],
)
def test_wrong_requests_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        ProfileRequest(**values)
