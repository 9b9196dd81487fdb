import pytest

from edge.profiling.layers import KINDS
from edge.profiling.picture import COLORS, save_picture


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
