from pathlib import Path

from benchmarks.measuring import ethosu
from benchmarks.measuring.ethosu import ethosu_table, measure_all


def test_table_has_the_clock_the_dram_and_what_size_saves(monkeypatch):
    told = []

    def compiled(path, accelerator, output, settings):
        told.append((path.stem, accelerator, settings.optimise))
        size = settings.optimise == "size"
        cycles = 2_000_000 * (1 + size) // (1 if path.stem == "canonical" else 2)
        return {
            "cycles": {"total": cycles},
            "memory_bytes": {"sram": 1024 * (200 - 100 * size), "dram": 2**20},
            "clock_hz": 10**9,
            "system_config": "Ethos_U65_High_End",
            "memory_mode": "Dedicated_Sram",
            "cpu_operators": {"GATHER": 2} if path.stem == "canonical" else {},
            "slowest": [],
        }

    monkeypatch.setattr(ethosu, "compile_file", compiled)
    monkeypatch.setattr(
        ethosu, "int8_file", lambda network, graph, target, cache: Path(f"{graph}.tflite")
    )
    rows = measure_all(["v2-1x"], ["ethos-u65-256"], Path("cache"))
    assert sorted(told) == [
        (graph, "ethos-u65-256", optimise)
        for graph in ("canonical", "deployment")
        for optimise in ("performance", "size")
    ]
    assert ethosu_table(rows).splitlines()[-1] == (
        "| v2-1x, ethos-u65-256 | Ethos_U65_High_End, Dedicated_Sram | 1000 MHz | 2.00 | 1.00 "
        "| **2.00x** | 200 | 200 | 1,024 | 1,024 | 2.00 | 100 | 2 GATHER | none |"
    )
