import json

import pytest

from common.files import atomic_write, write_json


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"step": 1})
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half of it")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path], "nothing temporary is left"


def test_the_suffix_is_kept_and_the_file_is_readable(tmp_path):
    with atomic_write(tmp_path / "model.keras") as temporary:
        assert temporary.suffix == ".keras" and temporary.parent == tmp_path
        temporary.write_text("x")
    assert (tmp_path / "model.keras").stat().st_mode & 0o400
