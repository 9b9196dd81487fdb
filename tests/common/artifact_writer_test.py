import numpy as np
import pytest

from common.artifact_writer import staged_folder, write_labels, write_manifest, write_samples
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


def test_no_samples_write_no_file(tmp_path):
    images, labels = np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, np.int32)
    assert write_samples(tmp_path, images, labels) is None
    assert list(tmp_path.iterdir()) == []


def test_manifest_that_breaks_its_schema_is_not_written(tmp_path):
    with pytest.raises(UserError, match="lacks the field name"):
        write_manifest(tmp_path, {"labels": write_labels(tmp_path, ["a"])})
    assert not (tmp_path / "manifest.json").exists()
