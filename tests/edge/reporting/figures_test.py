import pytest

pytest.importorskip("plotly", reason="needs keras_shufflenet[report]")

from edge.reporting.data import Breakdown, Point
from edge.reporting.figures import breakdown_bars, device_bars, latency_against_accuracy


def point(label="deployment_int8_ptq.tflite", ms=1.0, accuracy=0.9, group="host", **record):
    return Point(f"at-{label}", label, group, ms, ms - 0.2, ms + 0.5, accuracy, record)


def test_a_point_a_file_and_the_front(tmp_path):
    points = [point("a", 1.0, 0.7), point("b", 2.0, 0.6), point("c", 3.0, 0.8), point("d", 4, None)]
    dots, front = latency_against_accuracy(points).data
    assert list(dots.x) == [1.0, 2.0, 3.0] and list(dots.y) == pytest.approx([70, 60, 80])
    assert list(dots.customdata) == ["at-a", "at-b", "at-c"]
    assert list(dots.error_x.array) == pytest.approx([0.5] * 3)
    assert list(dots.error_x.arrayminus) == pytest.approx([0.2] * 3)
    assert list(front.x) == [1.0, 3.0] and front.showlegend


def test_a_point_says_of_how_many_images_its_accuracy_is():
    (dots, _) = latency_against_accuracy([point(accuracy_images=32), point()]).data
    assert [text.partition("%{y:.1f}%")[2] for text in dots.hovertemplate] == [" of 32 images", ""]


def test_each_device_has_its_own_front_and_far_latencies_a_logarithm():
    figure = latency_against_accuracy([point(), point(ms=80.0, group="micro-sim")])
    assert [trace.name for trace in figure.data[::2]] == ["host", "micro-sim"]
    assert figure.layout.xaxis.type == "log"
    assert latency_against_accuracy([point()]).layout.xaxis.type is None


def test_graphs_have_their_symbols():
    points = [point(graph="canonical"), point(graph="deployment"), point()]
    (dots, _) = latency_against_accuracy(points).data
    assert list(dots.marker.symbol) == ["circle-open", "circle", "diamond"]


def test_bars_are_fastest_on_top():
    (bars,) = device_bars("host", [point("a", 1.0), point("b", 3.0), point("c", 2.0)]).data
    assert list(bars.y) == ["b", "c", "a"]  # plotly draws from the bottom to the top.


def test_long_and_hostile_names():
    (bars,) = device_bars("<b>", [point("deployment_int8_ptq.tflite"), point("</a>", 2)]).data
    assert list(bars.y) == ["&lt;/a&gt;", "deployment_int8_<br>ptq.tflite"]


def test_a_breakdown_has_a_piece_for_each_kind():
    kinds = [
        {"kind": "convolution", "us": 30.0, "share": 0.75, "operators": 2},
        {"kind": "data movement", "us": 10.0, "share": 0.25, "operators": 4},
    ]
    rows = [Breakdown("a", "m", None, kinds), Breakdown("b", "m", None, kinds[:1])]
    convolution, moved = breakdown_bars(rows).data
    assert (convolution.name, list(convolution.x)) == ("convolution", [30.0, 30.0])
    assert (moved.name, list(moved.x), list(moved.y)) == ("data movement", [0, 10.0], ["b", "a"])
