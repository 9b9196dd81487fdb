import errno
import os

import numpy as np
import pytest

from common.artifact_writer import (
    OutputTakenError,
    staged_folder,
    updated_artifact,
    write_labels,
    write_manifest,
    write_samples,
)
from common.cli import UserError


def test_folder_appears_whole_and_readable(tmp_path):
    output = tmp_path / "new" / "artifact"
    with staged_folder(output) as folder:
        (folder / "a").write_text("a")
        assert not output.exists()
    assert [path.name for path in output.parent.iterdir()] == ["artifact"]
    assert (output / "a").read_text() == "a"
    plain = tmp_path / "plain"
    plain.mkdir()
    assert output.stat().st_mode == plain.stat().st_mode


def test_nothing_is_left_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), staged_folder(tmp_path / "artifact") as folder:
        (folder / "a").write_text("a")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_reported_with_the_folder_s_name(tmp_path):
    output = tmp_path / "artifact"
    with pytest.raises(OSError, match="artifact") as caught, staged_folder(output):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(output) and not list(tmp_path.iterdir())


def test_empty_folder_is_taken(tmp_path):
    output = tmp_path / "artifact"
    output.mkdir()
    with staged_folder(output) as folder:
        (folder / "a").write_text("a")
    assert (output / "a").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_artifact_is_never_replaced(tmp_path, overwrite):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "draft").write_text("years of work")
    (tmp_path / "file").write_text("x")
    for name in ("thesis", "file"):
        with pytest.raises(UserError, match=name), staged_folder(tmp_path / name, overwrite):
            pass
    assert (tmp_path / "thesis" / "draft").read_text() == "years of work"


def test_artifact_is_replaced_when_asked_and_kept_after_an_error(tmp_path):
    output = tmp_path / "artifact"
    output.mkdir()
    (output / "manifest.json").write_text("old")
    with pytest.raises(UserError, match="--overwrite"), staged_folder(output):
        pass
    with pytest.raises(ZeroDivisionError), staged_folder(output, overwrite=True):
        raise ZeroDivisionError
    assert (output / "manifest.json").read_text() == "old"
    with staged_folder(output, overwrite=True) as folder:
        (folder / "manifest.json").write_text("new")
    assert (output / "manifest.json").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def _artifact(output, text="old"):
    output.mkdir()
    (output / "manifest.json").write_text(text)
    return output


def _contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_folder_that_appears_meanwhile_is_kept_and_so_is_the_result(tmp_path):
    output = tmp_path / "new"
    with (
        pytest.raises(OutputTakenError, match=r"the finished folder is .*new-2$") as error,
        staged_folder(output) as folder,
    ):
        (folder / "manifest.json").write_text("ours")
        output.mkdir()
        (output / "thesis").write_text("years of work")
    assert _contents(output) == {"thesis": "years of work"}
    assert _contents(error.value.kept) == {"manifest.json": "ours"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "new-2"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_two_conversions_to_one_output_neither_replaces_the_other(tmp_path, overwrite):
    output = _artifact(tmp_path / "new") if overwrite else tmp_path / "new"
    with pytest.raises(OutputTakenError), staged_folder(output, overwrite) as slow:
        (slow / "manifest.json").write_text("slow")
        with staged_folder(output, overwrite) as fast:
            (fast / "manifest.json").write_text("fast")
    assert _contents(output) == {"manifest.json": "fast"}
    assert _contents(tmp_path / "new-2") == {"manifest.json": "slow"}


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_overwrite_never_removes_what_is_no_part_of_the_artifact(tmp_path, when):
    output = _artifact(tmp_path / "artifact")
    if when == "before":
        (output / "notes.txt").write_text("mine")
    with pytest.raises(UserError), staged_folder(output, overwrite=True) as folder:
        (folder / "manifest.json").write_text("new")
        (output / "notes.txt").write_text("mine")
    assert _contents(output) == {"manifest.json": "old", "notes.txt": "mine"}


def test_an_update_keeps_what_lies_beside_the_artifact(tmp_path):
    output = _artifact(tmp_path / "artifact")
    (output / "notes.txt").write_text("mine")
    with updated_artifact(output) as copy:
        (copy / "manifest.json").write_text("new")
    assert _contents(output) == {"manifest.json": "new", "notes.txt": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def test_a_link_to_an_artifact_stays_a_link(tmp_path):
    output = _artifact(tmp_path / "artifact")
    link = tmp_path / "link"
    link.symlink_to(output)
    with staged_folder(link, overwrite=True) as folder:
        (folder / "manifest.json").write_text("new")
    assert link.is_symlink() and _contents(output) == {"manifest.json": "new"}


def test_no_samples_write_no_file(tmp_path):
    images, labels = np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, np.int32)
    assert write_samples(tmp_path, {"images": images, "labels": labels}) is None
    assert list(tmp_path.iterdir()) == []


def test_manifest_that_breaks_its_schema_is_not_written(tmp_path):
    with pytest.raises(UserError, match="lacks the field name"):
        write_manifest(tmp_path, {"labels": write_labels(tmp_path, ["a"])})
    assert not (tmp_path / "manifest.json").exists()
