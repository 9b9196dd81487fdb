import os
import random

import pytest

from common.cli import UserError
from trainers.data.folder import open_folder
from trainers.data.listing import SUFFIXES, describe, list_splits


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def listed(root, used=("train", "test"), train="train", test="test"):
    return list_splits(str(root), used, train, test)


def names(paths, root):
    return {os.path.relpath(path, root) for path in paths}


def test_every_kind_and_nested_folders_belong_to_the_class(tmp_path):
    images = [f"train/cat/{number}{suffix}" for number, suffix in enumerate(SUFFIXES)]
    images += ["train/cat/LOUD.JPeG", "train/cat/indoor/1.png", "train/cat/indoor/far/2.WEBP"]
    put(tmp_path, *images, "train/dog/1.jpg", "test/cat/1.jpg", "test/dog/1.jpg")
    found = listed(tmp_path)
    assert names(found.splits["train"]["cat"], tmp_path) == set(images)
    assert (found.skipped, found.held_out, found.notes()) == ({}, None, [])


def test_what_is_skipped_is_counted_by_kind(tmp_path):
    put(tmp_path, *(f"{split}/{cls}/1.jpg" for split in ("train", "test") for cls in "ab"))
    put(tmp_path, "train/a/1.heic", "train/a/2.HEIC", "test/b/more/3.heic", "train/b/README")
    put(tmp_path, "train/.ipynb_checkpoints/1.jpg", "__MACOSX/train/a/._1.jpg", "train/a/._1.jpg")
    put(tmp_path, "train/b/Thumbs.db", "train/stray.png")
    (tmp_path / "train/a/gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "train/a/loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "test/a/around").symlink_to("..")
    # Opening it would wait for ever.
    os.mkfifo(tmp_path / "train/a/pipe.jpg")
    found = listed(tmp_path)
    kinds = {".heic": 3, "broken link": 2, "hidden folder": 2, "hidden file": 1, ".db": 1}
    others = {"special file": 1, "stray image": 1, "unsuffixed file": 1, "circular link": 1}
    assert found.skipped == {**kinds, **others}
    assert names(found.splits["train"]["a"], tmp_path) == {"train/a/1.jpg"}
    (note,) = found.notes()
    assert note.startswith(f"skipped in {tmp_path}: 3 .heic, ")
    assert "2 broken links" in note and "1 special file" in note


def test_without_splits_nothing_is_counted_twice(tmp_path):
    put(tmp_path, *(f"{cls}/{number}.jpg" for cls in ("cat", "dog") for number in range(3)))
    put(tmp_path, ".git/1.jpg", "cat/1.heic", "stray.jpg")
    assert listed(tmp_path).skipped == {"hidden folder": 1, ".heic": 1, "stray image": 1}


def test_images_without_folders_of_classes_are_said(tmp_path):
    put(tmp_path, "1.jpg", "2.png", "labels.txt")
    with pytest.raises(UserError, match=r"2 images lie directly in .*a folder for each class"):
        listed(tmp_path)


def test_only_splits_in_use_are_checked(tmp_path):
    put(tmp_path, *(f"{split}/{cls}/1.jpg" for split in ("train", "test") for cls in "ab"))
    put(tmp_path, "old/c/1.jpg", "old/d/1.gone")
    folder = open_folder(str(tmp_path))
    assert folder.class_names == ("a", "b")
    assert set(folder.listing.splits) == {"train", "test"}
    with pytest.raises(UserError, match="'a' of split 'old' is missing"):
        open_folder(str(tmp_path), ["old"])


def test_a_linked_folder_is_followed(tmp_path):
    put(tmp_path, "photos/1.jpg", "images/train/dog/1.jpg", "images/test/dog/1.jpg")
    for split in ("train", "test"):
        (tmp_path / "images" / split / "cat").symlink_to(tmp_path / "photos")
    assert open_folder(str(tmp_path / "images")).class_names == ("cat", "dog")


@pytest.mark.parametrize("place", ["", "train"])
def test_a_tenth_is_held_out_by_name(tmp_path, place):
    root = tmp_path / place
    put(root, *(f"cat/{number}.jpg" for number in range(1000)))
    put(root, *(f"dog/pug/{number}.jpg" for number in range(20)), "fox/1.jpg", "fox/2.jpg")
    found = listed(tmp_path)
    train, test = found.splits["train"], found.splits["test"]
    assert {name: len(paths) for name, paths in test.items()} == {"cat": 113, "dog": 1, "fox": 1}
    assert {name: len(paths) for name, paths in train.items()} == {"cat": 887, "dog": 19, "fox": 1}
    assert not set(train["cat"]) & set(test["cat"])
    assert found.notes() == [
        f"{tmp_path} has no split 'test': 115 of its 1022 images, chosen by their names, are held "
        "out for it"
    ]
    before = set(test["cat"])
    put(root, *(f"cat/new{number}.jpg" for number in range(500)))
    after = set(listed(tmp_path).splits["test"]["cat"])
    assert before == {path for path in after if "new" not in path}


def test_every_class_keeps_an_image_in_both_parts(tmp_path):
    rng = random.Random(0)
    for cls in range(200):
        put(tmp_path, *(f"{cls}/{rng.random()}.jpg" for _ in range(2)))
    found = listed(tmp_path)
    assert {len(paths) for split in found.splits.values() for paths in split.values()} == {1}


def test_a_class_of_one_image_cannot_be_divided(tmp_path):
    put(tmp_path, "cat/1.jpg", "cat/2.jpg", "dog/1.jpg")
    with pytest.raises(UserError, match=r"class 'dog' .* has one image only"):
        listed(tmp_path)


def test_slices_of_one_split_hold_nothing_out(tmp_path):
    put(tmp_path, *(f"{cls}/{number}.jpg" for cls in "ab" for number in range(10)))
    folder = open_folder(
        str(tmp_path), ["train[:90%]", "train[90%:]"], "train[:90%]", "train[90%:]"
    )
    assert len(folder.examples("train[:90%]")[0]) == 18
    assert len(folder.examples("train[90%:]")[0]) == 2


def test_other_names_of_splits_are_no_classes(tmp_path):
    put(tmp_path, *(f"{split}_set/{cls}/1.jpg" for split in ("training", "test") for cls in "ab"))
    with pytest.raises(
        UserError, match=r"no split 'train' .*its splits are test_set, training_set"
    ):
        open_folder(str(tmp_path)).examples("train")


def test_a_missing_test_split_beside_others_is_not_made_up(tmp_path):
    put(tmp_path, *(f"{split}/{cls}/1.jpg" for split in ("train", "val") for cls in "ab"))
    with pytest.raises(UserError, match=r"no split 'test' .*its splits are train, val"):
        open_folder(str(tmp_path)).examples("test")


def test_a_folder_of_other_files_names_them(tmp_path):
    put(tmp_path, "train/cat/1.heic", "train/cat/2.heic")
    with pytest.raises(UserError, match=r"has no images, but 2 \.heic; expected .*\.webp"):
        listed(tmp_path)


def test_odd_suffixes_and_many_kinds_stay_one_line(tmp_path):
    put(tmp_path, *(f"cat/{number}.jpg" for number in range(2)), "cat/a.b\nc", "cat/v.1-final copy")
    put(tmp_path, *(f"cat/1.kind{number}" for number in range(30)), "cat/1.PART", "cat/2.part")
    skipped = listed(tmp_path).notes()[0]
    assert skipped.startswith(f"skipped in {tmp_path}: ") and "\n" not in skipped
    assert "2 unsuffixed files" in skipped and "2 .part" in skipped
    assert skipped.endswith(", 22 of other kinds")


def test_many_classes_are_summed_up():
    counts = {str(number): 700 + number for number in range(30)}
    assert describe("train", counts) == "train: 21435 images in 30 classes (700 to 729 each)"
