import copy
import re

import pytest

from common.artifact import Artifact
from edge.devices import EthosUModel, Job

FLOAT, INT8 = "deployment_float32.tflite", "deployment_int8_ptq.tflite"
ESTIMATE = {
    "accelerator": "ethos-u55-128",
    "clock_hz": 500_000_000,
    "cycles": {"npu": 1, "total": 1_000_000},
    "memory_bytes": {"sram": 1234},
    "compiled": {"name": "x_vela.tflite"},
}


def job(artifact, **options):
    return Job(artifact, (INT8,), 1, 1, 2, 8, options)


@pytest.fixture
def artifact(artifact_dir):
    found = Artifact.open(artifact_dir)
    found.manifest = copy.deepcopy(found.manifest)
    return found


def test_the_manifest_s_estimate_becomes_a_latency(artifact):
    artifact.files[INT8]["ethosu"] = ESTIMATE
    (result,) = EthosUModel().run(job(artifact))
    values = result.values
    assert (values["estimate"], values["place"], values["arena_bytes"]) == (
        *(True, "ethos-u55-128 at 500 MHz"),
        1234,
    )
    assert values["latency_ms"] == {
        **dict.fromkeys(("median", "mean", "min"), 2.0),
        **{"p10": None, "p90": None, "runs": 0},
    }
    assert "compiled" not in values["ethosu"]


def test_an_estimate_is_made_where_the_manifest_has_none(artifact):
    pytest.importorskip("ethosu.vela", reason="needs the extra ethosu")
    # An estimate for another NPU is not used.
    artifact.files[INT8]["ethosu"] = ESTIMATE
    (result,) = EthosUModel().run(job(artifact, accelerator="ethos-u65-256"))
    assert result.values["place"] == "ethos-u65-256 at 1000 MHz"
    assert 0.01 < result.values["latency_ms"]["median"] < 10


def test_other_settings_than_the_manifest_s_make_another_estimate(artifact):
    pytest.importorskip("ethosu.vela", reason="needs the extra ethosu")
    artifact.files[INT8]["ethosu"] = ESTIMATE
    slower = {"system_config": "Ethos_U55_Deep_Embedded", "optimise": "size"}
    (result,) = EthosUModel().run(job(artifact, **slower))
    assert result.values["place"] == "ethos-u55-128 at 200 MHz"
    assert result.values["ethosu"]["optimise"] == "size"
    (refused,) = EthosUModel().run(job(artifact, arena_limit=1000))
    assert re.search(r"more than --arena_limit=1000; the smallest that Vela reac", refused.error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the artifact has no estimate for it; name the NPU, such as --accelerator=ethos-u55"),
        ({"accelerator": "u1"}, "--accelerator must be one of ethos-u55-32, .*; received 'u1'"),
    ],
)
def test_without_an_estimate_the_remedy_is_reported(artifact, options, message):
    pytest.importorskip("ethosu.vela", reason="needs the extra ethosu")
    (result,) = EthosUModel().run(job(artifact, **options))
    assert re.match(message, result.error)


def test_integers_are_for_it(artifact):
    assert EthosUModel().takes(artifact.files[INT8])
    assert not EthosUModel().takes(artifact.files[FLOAT])
