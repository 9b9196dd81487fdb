import json
import os
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from common.cli import UserError
from trainers.data import folder, verification
from trainers.data.datasets import load_source, load_sources
from trainers.recipes import make_config
from trainers.settings import DataConfig


@pytest.fixture
def root(tmp_path, digits_folder):
    """A copy that a test may damage."""
    return shutil.copytree(digits_folder, tmp_path / "images")


def load(root, workdir, split, must_match=False, **values):
    config = DataConfig(dataset="folder", data_dir=str(root), **values)
    return load_source(config, split, workdir, must_match)


def elements(source):
    return [(image.numpy(), int(label)) for image, label in source.ordered()]


def test_classes_and_sizes(digits_folder, tmp_path):
    source = load(digits_folder, tmp_path, "train")
    assert source.class_names == ("one", "two", "zero")
    assert (source.num_examples, source.channels, source.skipped) == (120, 3, ())


def test_files_are_in_the_order_of_the_examples(root, tmp_path):
    (next(root.glob("test/one/*.jpg"))).write_bytes(b"no image")
    source = load(root, tmp_path, "test")
    assert len(source.skipped) == 1 and len(source.files) == source.num_examples == 29
    for path, (image, label) in zip(source.files, elements(source), strict=True):
        assert Path(path).read_bytes() == image
        assert Path(path).parent.name == source.class_names[label]


def test_files_are_listed_once(digits_folder, tmp_path, monkeypatch):
    opened = mock.Mock(wraps=folder.open_folder)
    monkeypatch.setattr(folder, "open_folder", opened)
    config = DataConfig(dataset="folder", data_dir=str(digits_folder))
    sources = load_sources(config, ["train", "test"], tmp_path)
    assert [source.num_examples for source in sources] == [120, 30]
    opened.assert_called_once_with(str(digits_folder))


def test_a_cached_folder_is_read_once(root):
    files = {path.read_bytes() for path in root.glob("test/*/*.jpg")}
    source = load(root, None, "test")
    shutil.rmtree(root)
    assert {image for image, _ in elements(source)} == files


def test_a_folder_too_large_for_the_cache_is_read_each_time(digits_folder, root):
    cached = load(digits_folder, None, "test")
    source = load(root, None, "test", cache_mb=0)
    assert elements(source) == elements(cached)
    shutil.rmtree(root)
    with pytest.raises(tf.errors.NotFoundError):
        elements(source)


def test_slices_cover_the_split_without_overlap(digits_folder):
    builder = folder.open_folder(str(digits_folder))
    whole, labels = builder.examples("train")
    first, first_labels = builder.examples("train[:75%]")
    rest, rest_labels = builder.examples("train[75%:]")
    assert (first + rest, first_labels + rest_labels) == (whole, labels)
    assert (len(first), len(rest)) == (90, 30)
    assert set(first_labels) == set(rest_labels) == {0, 1, 2}
    assert builder.examples("train+test[:3]")[0][:120] == whole
    assert len(builder.examples("train+test[:3]")[0]) == 123


def test_a_label_is_its_folders_name(digits_folder):
    builder = folder.open_folder(str(digits_folder))
    names = builder.info.features["label"].names
    paths, labels = builder.examples("test")
    assert [Path(path).parent.name for path in paths] == [names[label] for label in labels]


@pytest.mark.parametrize("split", ["val", "train[", "train[:900]", "train[5]", ""])
def test_an_unknown_split_names_the_existing_ones(digits_folder, split):
    with pytest.raises(UserError, match=r"no split .*its splits are test, train"):
        folder.open_folder(str(digits_folder)).examples(split)


def test_an_empty_slice_is_refused(digits_folder, tmp_path):
    with pytest.raises(UserError, match=r"'train\[:0%\]' of folder is empty"):
        load(digits_folder, tmp_path, "train[:0%]")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path / 'gone'} does not exist"):
        folder.open_folder(str(tmp_path / "gone"))


@pytest.mark.parametrize("made", ["", "train", "train/cat", "cat"])
def test_a_folder_without_images_shows_the_layout(tmp_path, made):
    (tmp_path / made).mkdir(parents=True, exist_ok=True)
    with pytest.raises(UserError, match=r"has no images; expected ROOT/SPLIT/CLASS"):
        folder.open_folder(str(tmp_path))


def test_a_class_without_images_is_named(root):
    (root / "train" / "three").mkdir()
    with pytest.raises(UserError, match=r"class 'three' of split '\w+' (has no image|is missing)"):
        folder.open_folder(str(root))


def test_a_class_emptied_in_one_split_is_named(root):
    for image in (root / "test" / "two").iterdir():
        image.unlink()
    with pytest.raises(UserError, match="class 'two' of split 'test' has no image"):
        folder.open_folder(str(root))


def test_splits_with_different_classes_are_refused(root):
    shutil.rmtree(root / "test" / "two")
    with pytest.raises(UserError, match="class 'two' of split 'test' is missing"):
        folder.open_folder(str(root))


def damage(root):
    """Breaks three files of class one in three ways, and returns them."""
    files = sorted((root / "train" / "one").iterdir())[:3]
    files[0].write_bytes(b"")
    files[1].write_bytes(b"no picture at all")
    files[2].write_bytes(files[2].read_bytes()[:300])
    return {str(file) for file in files}


def test_corrupt_images_are_named_skipped_and_counted(root, tmp_path, caplog):
    bad = damage(root)
    source = load(root, tmp_path, "train")
    assert set(source.skipped) == bad
    assert source.num_examples == 117
    assert all(path in caplog.text for path in bad)
    decoded = [tf.io.decode_image(image).shape for image, _ in source.ordered()]
    assert decoded == [(32, 32, 3)] * 117


def test_the_result_is_kept_while_the_files_do_not_change(root, tmp_path, monkeypatch):
    bad = damage(root)
    load(root, tmp_path, "train")
    monkeypatch.setattr(verification, "_readable", None)  # a second look would fail
    assert set(load(root, tmp_path, "train").skipped) == bad


def test_changed_files_are_verified_again(root, tmp_path):
    damage(root)
    load(root, tmp_path, "train")
    good = sorted((root / "train" / "one").iterdir())
    for file in good[:3]:
        shutil.copy(good[5], file)
    assert load(root, tmp_path, "train").skipped == ()


def test_a_resumed_run_refuses_other_images(root, tmp_path):
    load(root, tmp_path, "train")
    damage(root)
    with pytest.raises(UserError, match=r"images of this run have changed.*120 files.*restore"):
        load(root, tmp_path, "train", must_match=True)


def test_a_resumed_run_accepts_new_time_stamps(root, tmp_path):
    load(root, tmp_path, "train")
    for file in (root / "train" / "one").iterdir():
        os.utime(file, (1, 1))
    assert load(root, tmp_path, "train", must_match=True).num_examples == 120


def test_nothing_readable_is_an_error(root, tmp_path):
    for file in (root / "test").rglob("*.jpg"):
        file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="none of the 30 images of split 'test'"):
        load(root, tmp_path, "test")


def test_the_list_is_a_file_of_the_run(root, tmp_path):
    bad = damage(root)
    load(root, tmp_path, "train[:100%]")
    record = json.loads((tmp_path / "unreadable-train-100-.json").read_text())
    assert set(record["unreadable"]) == bad


def test_grey_and_transparent_images_get_three_channels(root, tmp_path):
    from PIL import Image

    from trainers.data.pipeline import uint8_images

    for mode, name in (("L", "grey.jpg"), ("RGBA", "clear.png"), ("LA", "grey.png")):
        for cls in ("zero", "one", "two"):
            target = root / mode / cls / name
            target.parent.mkdir(parents=True)
            Image.new("RGB", (40, 36), (200, 200, 200)).convert(mode).save(target)
        values = {"data_dir": str(root), "input_size": 32, "resize_size": 32}
        images, _ = uint8_images(make_config("folder", str(tmp_path), values), mode)
        assert images.shape == (3, 32, 32, 3)
        assert np.ptp(images) <= 1


def test_contents_are_those_of_the_files(tmp_path):
    written = [b"", b"one", bytes(range(256)) * 4096]
    paths = [str(tmp_path / str(number)) for number in range(3)]
    for path, data in zip(paths, written, strict=True):
        Path(path).write_bytes(data)
    statuses = [folder.file_status(path) for path in paths]
    assert folder.contents(paths, statuses) == written
    Path(paths[1]).unlink()
    assert folder.contents(paths, statuses) == [written[0], b"", written[2]]
