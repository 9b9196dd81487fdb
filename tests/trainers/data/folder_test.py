import json
import os
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

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
    opened.assert_called_once_with(str(digits_folder), ["train", "test"], "train", "test")


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


def test_the_order_is_that_of_tfds(digits_folder):
    # Runs that began when TFDS listed the files can be resumed.
    theirs = tfds.ImageFolder(str(digits_folder))._split_examples["train"]
    ours, _ = folder.open_folder(str(digits_folder)).examples("train")
    assert ours == [example.image_path for example in theirs]


def test_a_label_is_its_folders_name(digits_folder):
    builder = folder.open_folder(str(digits_folder))
    names = builder.class_names
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
    for known in (source, load(root, tmp_path, "train")):
        assert "skipped in split 'train': 3 that cannot be decoded" in known.notes
    assert all(path in caplog.text for path in bad)
    decoded = [tf.io.decode_image(image).shape for image, _ in source.ordered()]
    assert decoded == [(32, 32, 3)] * 117


def test_the_result_is_kept_while_the_files_do_not_change(root, tmp_path, monkeypatch):
    bad = damage(root)
    load(root, tmp_path, "train")
    monkeypatch.setattr(verification, "_facts", None)  # a second look would fail
    assert set(load(root, tmp_path, "train").skipped) == bad


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[]", b'{"stamp": 1}', b'{"stamp": "", "files": 1, "unreadable": 5}']
)
def test_a_damaged_list_does_not_stop_a_resume(root, tmp_path, caplog, content):
    bad = damage(root)
    (tmp_path / "unreadable-train.json").write_bytes(content)
    assert set(load(root, tmp_path, "train", must_match=True).skipped) == bad
    assert "unreadable-train.json is damaged: the images are verified again" in caplog.text


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


def test_a_resumed_run_refuses_a_replaced_image(root, tmp_path):
    load(root, tmp_path, "train")
    first, second, *_ = sorted((root / "train" / "one").iterdir())
    first.write_bytes(second.read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"images of this run have changed.*other names, sizes"):
        load(root, tmp_path, "train", must_match=True)


def test_an_evaluation_of_other_images_keeps_what_a_run_recorded(root, tmp_path):
    load(root, tmp_path, "train")
    record = tmp_path / "unreadable-train.json"
    before = record.read_bytes()
    bad = damage(root)
    assert set(load(root, tmp_path, "train").skipped) == bad
    assert record.read_bytes() == before
    verification.forget(tmp_path)
    assert set(load(root, tmp_path, "train").skipped) == bad
    assert set(json.loads(record.read_bytes())["unreadable"]) == bad


def test_a_resumed_run_accepts_new_time_stamps(root, tmp_path):
    load(root, tmp_path, "train")
    for file in (root / "train" / "one").iterdir():
        os.utime(file, (1, 1))
    assert load(root, tmp_path, "train", must_match=True).num_examples == 120


def test_a_resumed_run_of_a_divided_folder_keeps_its_images(tmp_path):
    root, workdir = coloured(tmp_path / "images"), tmp_path / "work"
    workdir.mkdir()
    config = DataConfig(dataset="folder", data_dir=str(root))
    before = [elements(source) for source in load_sources(config, ["train", "test"], workdir)]
    again = load_sources(config, ["train", "test"], workdir, must_match=True)
    assert [elements(source) for source in again] == before
    assert [len(split) for split in before] == [17, 3]
    root = root.rename(tmp_path / "moved")
    config = DataConfig(dataset="folder", data_dir=str(root))
    moved = load_sources(config, ["train", "test"], workdir, must_match=True)
    assert [elements(source) for source in moved] == before
    shutil.copy(root / "cat" / "0.png", root / "cat" / "new.png")
    with pytest.raises(UserError, match="images of this run have changed"):
        load_sources(config, ["train", "test"], workdir, must_match=True)


def test_nothing_readable_is_an_error(root, tmp_path):
    for file in (root / "test").rglob("*.jpg"):
        file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="none of the 10 images of class 'one' in split 'test'"):
        load(root, tmp_path, "test")


def picture(levels, path):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels).save(path)


def coloured(root):
    """A folder of two classes, in colour, without splits."""
    rng = np.random.default_rng(0)
    for number in range(10):
        for cls in ("cat", "dog"):
            levels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            picture(levels, root / cls / f"{number}.png")
    return root


def test_the_counts_of_a_split_are_noted(root):
    source = load(root, None, "train")
    assert source.class_counts == (40, 40, 40)
    assert source.notes[0] == "train: 120 images in 3 classes (one 40, two 40, zero 40)"


def test_a_folder_of_grey_images_says_so_also_from_the_record(root, tmp_path):
    for _ in range(2):
        (hint,) = load(root, tmp_path, "train").hints
        assert "all 120 images of split 'train' are grey; --channels=1 trains" in hint
    assert load(root, None, "train", channels=1).hints == ()
    assert load(coloured(tmp_path / "new"), None, "train").hints == ()


def test_12_bits_in_16_are_named(tmp_path):
    root = coloured(tmp_path)
    deep = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    picture(deep, root / "cat" / "deep.png")
    note = load(root, None, "train+test").notes[-1]
    assert note.startswith("warning: 1 PNGs of split 'train+test' have 16 bits a value, but none")
    assert "above 4095 of 65535" in note and "multiply them by 16," in note
    picture(deep * 16, root / "dog" / "deep.png")
    assert "16 bits" not in str(load(root, None, "train+test").notes)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_has_the_requested_channels(root, channels):
    from trainers.data.pipeline import uint8_images

    values = {"data_dir": str(root), "input_size": 32, "resize_size": 32, "channels": channels}
    images, _ = uint8_images(make_config("folder", "w", values), "test")
    assert images.shape == (30, 32, 32, channels)


def test_what_cannot_be_decoded_to_grey_is_skipped_too(root):
    from PIL import Image

    bad = damage(root)
    inks = root / "train" / "two" / "inks.jpg"
    Image.new("CMYK", (32, 32), (10, 20, 30, 40)).save(inks)
    assert set(load(root, None, "train").skipped) == bad
    assert set(load(root, None, "train", channels=1).skipped) == {*bad, str(inks)}


def test_an_undecodable_class_is_refused(root):
    for file in (root / "train" / "two").iterdir():
        file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="none of the 40 images of class 'two' in split 'train'"):
        load(root, None, "train")


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
    statuses = [verification.file_status(path) for path in paths]
    assert folder.contents(paths, statuses) == written
    Path(paths[1]).unlink()
    assert folder.contents(paths, statuses) == [written[0], b"", written[2]]
