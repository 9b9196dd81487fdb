import importlib.metadata
import shutil

import pytest

from common.cli import UserError
from common.tflite.vela import (
    compile_file,
    compile_within,
    describe,
    read_layers,
    read_summary,
    summary,
)
from common.tflite.vela_settings import VelaSettings

FILE = "deployment_int8_ptq.tflite"
SUMMARY = (
    "network,system_config,memory_mode,core_clock,sram_memory_used,dram_memory_used,cycles_npu,"
    "cycles_total\n"
    "model,Ethos_U55_High_End_Embedded,Shared_Sram,500000000.0,540.5,0.0,1386706.0,2506776.4\n"
)
LAYERS = (
    "Original Operator,NNG Operator,Target,Op Cycles,MAC Count,Name\n"
    "Conv2D,Conv2D,NPU,100,9.0,first\n"
    "MaxPool,MaxPool,NPU,300,0,second\n"
    "Conv2D,Conv2D,NPU,200,7,third\n"
)


def test_summary_is_read():
    assert read_summary(SUMMARY) == {
        "system_config": "Ethos_U55_High_End_Embedded",
        "memory_mode": "Shared_Sram",
        "clock_hz": 500_000_000,
        "cycles": {"npu": 1386706, "total": 2506776},
        "memory_bytes": {"sram": 553472, "dram": 0},
    }


def test_slowest_layers_come_first():
    assert read_layers(LAYERS, most=2) == [
        {"name": "second", "operator": "MaxPool", "cycles": 300, "macs": 0},
        {"name": "third", "operator": "Conv2D", "cycles": 200, "macs": 7},
    ]


def test_without_vela_the_remedy_is_told(monkeypatch, artifact_dir):
    def missing(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(UserError, match=r"is not installed; pip install 'keras_shufflenet\[eth"):
        compile_file(artifact_dir / FILE, "ethos-u55-128")


def test_a_network_is_compiled_for_ethos_u(artifact_dir, tmp_path):
    pytest.importorskip("ethosu.vela", reason="needs the extra ethosu")
    path = tmp_path / FILE
    shutil.copy(artifact_dir / FILE, path)
    entry = describe(path, "ethos-u55-128")
    compiled = tmp_path / "deployment_int8_ptq_vela.tflite"
    assert entry["compiled"]["name"] == compiled.name
    assert entry["compiled"]["bytes"] == compiled.stat().st_size
    assert (entry["accelerator"], entry["cpu_operators"]) == ("ethos-u55-128", {})
    assert entry["npu_operators"] > 80
    assert entry["cycles"]["npu"] < entry["cycles"]["total"]
    assert 10_000 < entry["memory_bytes"]["sram"] < 1_000_000
    cycles = [layer["cycles"] for layer in entry["slowest"]]
    assert len(cycles) == 10 and cycles == sorted(cycles, reverse=True)
    assert "on the CPU none" in summary(entry)


def test_vela_s_settings_reach_it(artifact_dir):
    pytest.importorskip("ethosu.vela", reason="needs the extra ethosu")

    def estimate(**settings):
        return compile_file(artifact_dir / FILE, "ethos-u55-128", None, VelaSettings(**settings))

    usual, small = estimate(), estimate(optimise="size")
    assert (usual["optimise"], usual["clock_hz"]) == ("performance", 500_000_000)
    assert small["memory_bytes"]["sram"] < usual["memory_bytes"]["sram"]
    slow = estimate(system_config="Ethos_U55_Deep_Embedded", memory_mode="Sram_Only")
    assert (slow["clock_hz"], slow["memory_mode"]) == (200_000_000, "Sram_Only")
    assert "at 200 MHz (Ethos_U55_Deep_Embedded, Sram_Only, performance)" in summary(slow)


def test_a_limit_that_vela_cannot_keep_is_an_error_with_the_least(artifact_dir):
    pytest.importorskip("ethosu.vela", reason="needs the extra ethosu")
    path, npu = artifact_dir / FILE, "ethos-u55-128"
    smallest = compile_file(path, npu, None, VelaSettings(optimise="size"))["memory_bytes"]["sram"]
    with pytest.raises(UserError, match=f"the smallest that Vela reaches is {smallest:,} bytes"):
        compile_within(path, npu, VelaSettings(arena_limit=smallest - 1))
    kept = compile_within(path, npu, VelaSettings(arena_limit=smallest))
    assert kept["memory_bytes"]["sram"] == smallest


def test_a_float_file_is_refused(artifact_dir):
    pytest.importorskip("ethosu.vela", reason="needs the extra ethosu")
    with pytest.raises(UserError, match="computes in float32, of which an Ethos-U runs nothing"):
        compile_file(artifact_dir / "deployment_float32.tflite", "ethos-u55-128")


def test_what_vela_refuses_is_named(tmp_path):
    pytest.importorskip("ethosu.vela", reason="needs the extra ethosu")
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"\0\0\0\0TFL3")
    with pytest.raises(UserError, match=r"Vela refuses .*broken\.tflite"):
        compile_file(path, "ethos-u55-128")
