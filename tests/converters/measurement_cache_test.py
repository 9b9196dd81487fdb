import pytest

from converters.measurement_cache import cached

KEY = {"network": "v2-1x", "tool": "1.0"}


@pytest.fixture
def measure():
    """Counts how often it is called."""

    def count():
        count.calls += 1
        return {"macs": 7}

    count.calls = 0
    return count


def test_a_measurement_is_made_once(tmp_path, measure):
    folder = tmp_path / "new" / "cache"
    assert [cached(folder, KEY, ["macs"], measure) for _ in range(3)] == [{"macs": 7}] * 3
    assert measure.calls == 1
    cached(folder, {**KEY, "tool": "1.1"}, ["macs"], measure)
    assert measure.calls == 2
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"key": {"network": "v2-1x", "tool": "1.0"}, "val',
        b'{"key": {"network": "other", "tool": "1.0"}, "values": {"macs": 9}}',
        b'{"key": {"network": "v2-1x", "tool": "1.0"}, "values": {"macs": -9}}',
        b'{"key": {"network": "v2-1x", "tool": "1.0"}, "values": {"macs": true}}',
        b'{"key": {"network": "v2-1x", "tool": "1.0"}, "values": {"other": 9}}',
        b'{"key": {"network": "v2-1x", "tool": "1.0"}, "values": [9]}',
        b"7",
    ],
)
def test_a_damaged_measurement_is_made_again(tmp_path, measure, damaged):
    cached(tmp_path, KEY, ["macs"], measure)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damaged)
    assert cached(tmp_path, KEY, ["macs"], measure) == {"macs": 7}
    assert cached(tmp_path, KEY, ["macs"], measure) == {"macs": 7}
    assert measure.calls == 2
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_measurement_leaves_nothing(tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, KEY, ["macs"], interrupted)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_costs_no_result(tmp_path, measure, caplog):
    (tmp_path / "file").touch()
    for _ in range(2):
        assert cached(tmp_path / "file" / "cache", KEY, ["macs"], measure) == {"macs": 7}
    assert "measurements are not kept for the next run: Not a directory" in caplog.text
