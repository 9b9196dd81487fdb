from benchmarks.measuring.small_devices import comparison_table


def test_table_names_what_stays_on_the_cpu():
    estimate = {"cycles": 2_500_000, "sram_bytes": 1, "cpu": {"GATHER": 2}}
    row = {
        "network": "v2-1x",
        "graph": "canonical",
        "micro": {"arena_bytes": 2048, "simulated_ms": {"min": 1234.0}},
        "ethosu": {"U55-128": estimate, "U55-256": estimate, "U65-256": estimate},
    }
    last = comparison_table([row]).splitlines()[-1]
    assert last == "| v2-1x, canonical | 2 | 1,234 | 2.50 | 2.50 | 2.50 | 2 GATHER |"
