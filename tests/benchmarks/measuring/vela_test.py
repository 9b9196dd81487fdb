from pathlib import Path

from benchmarks.measuring import vela


def test_an_estimate_is_vela_s_total_for_the_accelerator(monkeypatch):
    found = {
        "cycles": {"npu": 7, "total": 9},
        "memory_bytes": {"sram": 512, "dram": 3},
        "cpu_operators": {"GATHER": 1},
    }
    asked = []
    monkeypatch.setattr(vela, "compile_file", lambda *request: asked.append(request) or found)
    expected = {"cycles": 9, "sram_bytes": 512, "cpu": {"GATHER": 1}}
    assert vela.estimate(Path("net.tflite"), "U65-256") == expected
    assert asked == [(Path("net.tflite"), "ethos-u65-256")]
