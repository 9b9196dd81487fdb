"""Class names are compared by name and by order, wherever data meets a model."""

import shutil

import pytest

from common.cli import UserError
from trainers import loop
from trainers.data import verification
from trainers.data.class_names import (
    check_lines,
    check_same,
    check_usable,
    difference,
    known_labels,
    read_labels,
    short,
    write_labels,
)
from trainers.data.datasets import load_source
from trainers.data.pipeline import uint8_images
from trainers.distribution.lock import LOCK_FILE
from trainers.recipes import make_config
from trainers.settings import DataConfig

DIGITS = DataConfig(dataset="digits")


@pytest.mark.parametrize(
    ("found", "known", "expected"),
    [
        (["dog", "zebra"], ["cat", "dog"], "'cat' is missing, 'zebra' is new"),
        (["cat", "dog", "eel"], ["cat", "dog"], "'eel' is new"),
        (["cat"], ["cat", "dog", "eel"], "'dog', 'eel' are missing"),
        (["dog", "cat"], ["cat", "dog"], "another order: number 1 is 'dog', not 'cat'"),
        (["cat", "eel", "dog"], ["cat", "dog", "eel"], "another order: number 2 is 'eel', not 'do"),
        (list("abcdefgh"), ["a"], "'b', 'c', 'd', 'e', 'f' and 2 more are new"),
        (["cat", "dog", "dog"], ["cat", "dog"], "3 names instead of 2"),
    ],
)
def test_a_difference_is_named(found, known, expected):
    assert difference(found, known).startswith(expected)
    with pytest.raises(UserError, match=r"digits has other classes than work/labels\.txt: .*; res"):
        check_same(found, known, DIGITS, "work/labels.txt")


def test_the_same_names_are_accepted():
    check_same(["a", "b"], ("a", "b"), DIGITS, "labels.txt")


@pytest.mark.parametrize(
    "name", ["two\nlines", "tab\tbed", "a\x85b", "a\u2028b", "\x1b[31mred", "not utf-8 \udcff"]
)
def test_a_name_that_is_no_line_of_text_is_refused(name):
    with pytest.raises(UserError, match=r"^class '.*' of image folder photos has .*; rename it$"):
        check_usable(["cat", name], DataConfig(dataset="folder", data_dir="photos"))


def test_names_of_all_languages_are_accepted():
    check_usable(["Straße", "猫", "👩‍🔬", "crane (bird)", "a b"], DIGITS)


def test_one_class_is_refused():
    with pytest.raises(UserError, match=r"digits has one class only \('cat'\); .*add a class"):
        check_usable(["cat"], DIGITS)


def test_labels_are_written_and_read(tmp_path):
    names = ("Straße", "crane (bird)", " a ")
    write_labels(tmp_path, names)
    assert (tmp_path / "labels.txt").read_bytes() == "Straße\ncrane (bird)\n a \n".encode()
    assert read_labels(tmp_path) == names
    assert known_labels(tmp_path) == known_labels(tmp_path / "model.keras") == names
    assert known_labels(tmp_path / "gone" / "model.keras") is None


@pytest.mark.parametrize(
    ("content", "message"), [(None, "labels.txt is missing"), (b"\xff\n", "is not UTF-8 text")]
)
def test_labels_that_cannot_be_read_are_named(content, message, tmp_path):
    if content:
        (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_labels(tmp_path)


@pytest.fixture
def photos(digits_folder, tmp_path):
    """A copy of a folder with the classes one, two and zero that a test may change."""
    return shutil.copytree(digits_folder, tmp_path / "photos")


def rename(root, old, new):
    for split in ("train", "test"):
        (root / split / old).rename(root / split / new)


def make_folder_config(root, workdir):
    values = {"data_dir": str(root), "input_size": 32, "resize_size": 32, "steps": 1}
    return make_config("folder", str(workdir), values)


def test_a_run_does_not_resume_on_renamed_classes(photos, tmp_path, monkeypatch):
    # Alphabetical order: "zero" was the last class, "alpha" becomes the first.
    workdir = tmp_path / "work"
    workdir.mkdir()
    write_labels(workdir, ["one", "two", "zero"])
    rename(photos, "zero", "alpha")
    # Before any image is read.
    monkeypatch.setattr(verification, "verify", None)
    with pytest.raises(UserError, match=r"photos has other .*'zero' is missing, 'alpha' is new"):
        loop.train(make_folder_config(photos, workdir), resume=True)
    assert {path.name for path in workdir.iterdir()} == {LOCK_FILE, "labels.txt"}


def test_one_class_and_a_name_of_two_lines_are_refused_before_a_training(photos, tmp_path):
    rename(photos, "zero", "ze\nro")
    config = make_folder_config(photos, tmp_path / "work")
    (tmp_path / "work").mkdir()
    with pytest.raises(UserError, match=r"class 'ze\\nro' of image folder .*photos has a line end"):
        loop.train(config)
    for split in ("train", "test"):
        for name in ("ze\nro", "two"):
            shutil.rmtree(photos / split / name)
    with pytest.raises(UserError, match=r"photos has one class only \('one'\)"):
        loop.train(config)


def test_images_are_read_only_with_the_same_classes(photos, tmp_path):
    config = make_folder_config(photos, tmp_path)
    images, _ = uint8_images(config, "test", limit=2, labels=["one", "two", "zero"])
    assert images.shape == (2, 32, 32, 3)
    with pytest.raises(UserError, match="another order: number 1 is 'one', not 'two'"):
        uint8_images(config, "test", limit=2, labels=["two", "one", "zero"])


def test_moved_data_with_an_unreadable_image_is_the_same_data(photos, tmp_path):
    bad = photos / "train" / "one" / "003.jpg"
    bad.write_bytes(bad.read_bytes()[:200])

    def load(root, must_match):
        data = DataConfig(dataset="folder", data_dir=str(root))
        return load_source(data, "train", tmp_path, must_match)

    assert load(photos, must_match=False).skipped == (str(bad),)
    moved = photos.rename(tmp_path / "moved")
    assert load(moved, must_match=True).skipped == (str(moved / "train" / "one" / "003.jpg"),)
    other = moved / "train" / "two" / "004.jpg"
    other.write_bytes(b"")
    with pytest.raises(UserError, match="the images of this run have changed"):
        load(moved, must_match=True)


def test_messages_show_the_beginning_of_a_very_long_name():
    assert short("a cat") == "a cat"
    assert short("a" * 100_000) == "a" * 80 + "…"
    with pytest.raises(UserError, match="line end") as caught:
        check_lines(["a" * 100_000 + "\n"], "cells")
    assert len(str(caught.value)) < 300
