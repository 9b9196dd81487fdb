"""Two folders change places, in one step and by renames."""

import errno

import pytest

from common.cli import UserError
from common.storage import exchange as module
from common.storage.exchange import exchange


@pytest.fixture(params=["one step", "renames"])
def folders(request, tmp_path, monkeypatch):
    if request.param == "renames":
        monkeypatch.setattr(module, "_exchanged_in_one_step", lambda first, second: False)
    pair = tmp_path / ".new", tmp_path / "old"
    for path in pair:
        path.mkdir()
        (path / "name").write_text(path.name)
    return pair


def test_they_change_places(folders):
    exchange(*folders)
    assert [(path / "name").read_text() for path in folders] == ["old", ".new"]
    assert len(list(folders[0].parent.iterdir())) == 2


def test_what_cannot_be_exchanged_stays(folders):
    missing, old = folders[0].with_name("missing"), folders[1]
    with pytest.raises(OSError):
        exchange(missing, old)
    assert (old / "name").read_text() == "old"


def test_a_rename_that_cannot_be_undone_names_the_place(tmp_path, monkeypatch):
    (tmp_path / "old").mkdir()
    real = type(tmp_path).rename

    def rename(path, target):
        if target.name == "old":
            raise OSError(errno.EIO, "Input/output error")
        return real(path, target)

    monkeypatch.setattr(module, "_exchanged_in_one_step", lambda first, second: False)
    monkeypatch.setattr(type(tmp_path), "rename", rename)
    with pytest.raises(UserError, match=r"it is in .*new\.old: move it back"):
        exchange(tmp_path / ".new", tmp_path / "old")
    assert (tmp_path / "new.old").is_dir()
