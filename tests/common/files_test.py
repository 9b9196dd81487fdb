"""Files that are written whole, sections of pages, and the memory that the system reports."""

import errno
import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from common import memory
from common.cli import UserError
from common.files import atomic_write, check_free, write_json
from common.pages.document import read_document, replace_section


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
        assert temporary.suffix == ".keras"
        temporary.write_text("x")
    assert (tmp_path / "model.keras").stat().st_mode & 0o400


def test_hdf5_can_lock_the_temporary_file(tmp_path):
    with (
        atomic_write(tmp_path / "model.weights.h5") as temporary,
        h5py.File(temporary, "w") as file,
    ):
        file["bias"] = np.zeros(3)
    with h5py.File(tmp_path / "model.weights.h5") as file:
        assert file["bias"].shape == (3,)


DOCUMENT = "# Title\n<!-- latency: begin -->\nold\n<!-- latency: end -->\nrest\n"


def test_only_the_named_section_is_replaced():
    replaced = replace_section(DOCUMENT, "latency", "new")
    assert replaced == DOCUMENT.replace("old", "new")
    assert replace_section(replaced, "latency", "old") == DOCUMENT


def test_a_document_without_markers_is_named():
    with pytest.raises(UserError, match=r"lacks the lines .*cycles: begin"):
        replace_section(DOCUMENT, "cycles", "new")


def test_a_document_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"page\.md does not exist"):
        read_document(tmp_path / "page.md")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_that_is_held_counts():
    before = memory.resident_megabytes()
    held = np.ones(50_000_000, np.uint8)
    assert 40 < memory.resident_megabytes() - before < 80
    assert held.any()


def test_where_the_system_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "nothing")
    assert memory.resident_megabytes() is None


@pytest.mark.parametrize("kind", [OSError, RuntimeError])
def test_a_full_disk_is_reported_also_as_hdf5_says_it(tmp_path, kind):
    path = tmp_path / "best.weights.h5"
    with pytest.raises(OSError, match=r"best\.weights") as caught, atomic_write(path):
        raise kind("flush failed (file write failed: errno = 28, 'No space left on device')")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert not list(tmp_path.iterdir())


def test_room_for_a_file_is_checked_before_it_is_written(tmp_path):
    check_free(tmp_path / "a", 1)
    with pytest.raises(OSError, match=r"weights") as caught:
        check_free(tmp_path / "weights", 2**62)
    assert caught.value.errno == errno.ENOSPC


def test_other_errors_of_a_write_stay_as_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="other"), atomic_write(tmp_path / "a"):
        raise RuntimeError("other")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_reported_with_the_file_s_name(tmp_path, code):
    path = tmp_path / "scores.json"
    path.write_text("before")
    with pytest.raises(OSError, match=r"scores\.json") as caught, atomic_write(path):
        raise OSError(code, os.strerror(code))
    assert caught.value.filename == str(path)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
