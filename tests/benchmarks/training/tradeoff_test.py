from benchmarks.training import tradeoff

LATENCY = {"median": 0.123, "p10": 0.12, "p90": 0.13}


def point(network, graph):
    return {
        "network": network,
        "graph": graph,
        "macs": 10_900_000,
        "parameters": 350_000,
        "float_accuracy": 0.86,
        "accuracy": 0.855,
        "latency": LATENCY,
    }


POINTS = [point("v2-0.5x", "deployment"), point("mobilenet-v2", "canonical")]


def test_the_table_has_a_row_for_each_file():
    *_, first, second = tradeoff.table(POINTS).splitlines()
    cells = "| 10.90 | 350 | 86.00% | 85.50% | 0.123 (0.120-0.130) |"
    assert first == f"| v2-0.5x, deployment {cells}"
    assert second == f"| mobilenet-v2, canonical {cells}"


def test_the_picture_is_a_png(tmp_path):
    tradeoff.draw(POINTS, tmp_path / "tradeoff.png")
    assert (tmp_path / "tradeoff.png").read_bytes().startswith(b"\x89PNG")


def test_rivals_are_trained_too():
    assert set(tradeoff.ALL) == {"v2-0.5x", "v1-0.5x-g3", "mobilenet-v2"}
