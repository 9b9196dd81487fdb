from benchmarks.vela import read_summary

SUMMARY = "network,sram_memory_used,cycles_npu,cycles_total\nmodel,540.5,1386706.0,2506776.4\n"


def test_summary():
    assert read_summary(SUMMARY) == {"cycles": 2506776, "sram_bytes": 553472}
