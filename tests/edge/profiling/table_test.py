import pytest

from edge.profiling.layers import KINDS
from edge.profiling.picture import COLORS, save_picture
from edge.profiling.table import caution, kind_table, markdown, operator_table, pairs, side_by_side


def record(graph="canonical", microseconds=(60.0, 40.0), whole=0.1, **changes):
    kinds = [
        {"kind": kind, "operators": 1, "us": us, "p10_us": us, "p90_us": us + 1, "share": us / 100}
        | {"macs": macs, "memory_access_cost": 5, "memory_bytes": 5}
        | {"macs_per_second": macs / us * 1e6 if macs else None, "bytes_per_second": None}
        for kind, us, macs in zip(
            ("convolution", "data movement"), microseconds, (3_000_000, 0), strict=True
        )
    ]
    operators = [
        {**kinds[0], "runtime_name": "Convolution", "layer": "stem", "operator": "CONV_2D"}
        | {"output_shape": [1, 8, 8, 2]},
        {**kinds[1], "runtime_name": "Static Reshape"},
    ]
    total = sum(microseconds) / 1e3
    profile = {"kinds": kinds, "operators": operators, "whole_ms": statistics(whole)}
    profile["operators_ms"] = statistics(total)
    return {
        "file": f"{graph}.tflite",
        "artifact": "artifact",
        "model": "v2",
        "quantization": "int8-ptq",
        "graph": graph,
        "operator_profile": profile,
        **changes,
    }


def statistics(milliseconds):
    return dict.fromkeys(("median", "p10", "p90"), milliseconds)


def cells(text):
    return [line.split() for line in text.splitlines()]


def test_kinds_and_totals():
    rows = cells(kind_table([record()]))
    assert rows[1][:5] == ["canonical.tflite", "convolution", "1", "60.0", "60.0"]
    # 3 million multiply-adds in 60 us are 50 GMAC/s.
    assert rows[1][6:] == ["60.0%", "3.0", "100.0%", "50.0", "-"]
    assert "sum of operators" in kind_table([record()]) and rows[3][5:9] == [
        *("100", "100", "100", "100.0%")
    ]


def test_every_share_is_of_the_operators_sum():
    rows = cells(kind_table([record("deployment", (62.0, 3.0), 0.07)]))
    assert "100.0%" in rows[3] and "107.7%" in rows[4]


def test_operators_that_take_no_measurable_time_have_no_rate():
    tiny = record()
    for kind in tiny["operator_profile"]["kinds"]:
        kind |= {"us": 0.0, "macs_per_second": None}
    assert cells(kind_table([tiny]))[3][-2:] == ["3.0", "-"]


def test_a_pair_shows_what_was_saved():
    first, second = record(), record("deployment", (62.0, 3.0), 0.07)
    rows = cells(side_by_side(first, second))
    assert rows[0] == ["us", "canonical.tflite", "deployment.tflite", "saved"]
    assert rows[1] == ["convolution", "60", "62", "-2"]
    assert rows[2] == ["data", "movement", "40", "3", "37"]
    assert rows[4][-3:] == ["100", "70", "30"]
    text = markdown([first, second])
    assert (
        "| data movement | 40 | 3 | 37 |" in text and "| canonical.tflite | convolution |" in text
    )


def test_pairs_are_of_one_model_and_quantization():
    canonical, deployment = record(), record("deployment")
    assert pairs([deployment, canonical]) == [(canonical, deployment)]
    assert pairs([canonical, record("deployment", quantization="none")]) == []
    assert pairs([canonical, record("deployment", model="v1")]) == []
    two = [record(graph=None, file=name) for name in ("a", "b")]
    assert pairs(two) == [(two[0], two[1])]


def test_operators_in_order_or_the_slowest():
    file = record(microseconds=(20.0, 80.0))
    assert [row[1] for row in cells(operator_table([file]))[1:]] == ["stem", "-"]
    (slowest,) = cells(operator_table([file], limit=1))[1:]
    assert slowest[1:3] == ["-", "-"] and "80.0" in slowest
    assert "8x8x2" in operator_table([file])


@pytest.mark.parametrize(("whole", "share"), [(0.1, None), (0.2, "50%"), (0.05, "200%")])
def test_what_does_not_add_up_is_reported(whole, share):
    text = caution([record(whole=whole)])
    if share is None:
        assert text is None
    else:
        assert text.startswith(f"canonical.tflite: the operators add up to {share} of the network")


def test_a_disturbed_machine_is_reported():
    file = record(whole=0.3)
    file["operator_profile"]["whole_ms"] |= {"p10": 0.1, "p90": 4.0}
    text = caution([file, record()])
    assert text.startswith("canonical.tflite: other work disturbed") and "0.1 to 4 ms" in text
    assert text.count("\n") == 0


def test_a_picture_is_written_whole(tmp_path):
    matplotlib = pytest.importorskip("matplotlib", reason="needs matplotlib")
    kinds = [{"kind": kind, "us": 10.0, "share": 0.1} for kind in KINDS]
    record = {"file": "<a>&$.tflite", "operator_profile": {"kinds": kinds}}
    save_picture([record, record], tmp_path / "profile.png")
    assert [path.name for path in tmp_path.iterdir()] == ["profile.png"]
    height, width, _ = matplotlib.image.imread(tmp_path / "profile.png").shape
    assert width > 1000 and height > 100


def test_every_kind_has_its_color():
    assert set(COLORS) == set(KINDS) and len(set(COLORS.values())) == len(KINDS)
