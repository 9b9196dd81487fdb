import shutil

import pytest
import tensorflow as tf

from common.cli import UserError
from trainers.data.datasets import load_source
from trainers.data.sources import IndexedSource, RecordSource
from trainers.settings import DataConfig


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    return {"data_dir": str(folder)}


def elements(stream):
    pairs = [(image.numpy(), int(label)) for image, label in stream]
    return [(image if isinstance(image, bytes) else image.tobytes(), c) for image, c in pairs]


def test_a_cached_folder_is_read_once(digits_folder, tmp_path):
    root = shutil.copytree(digits_folder, tmp_path / "images")
    config = DataConfig(dataset="folder", data_dir=str(root))
    files = {path.read_bytes() for path in root.glob("test/*/*.jpg")}
    source = load_source(config, "test")
    shutil.rmtree(root)
    assert {image for image, _ in elements(source.ordered())} == files


def test_a_folder_too_large_for_the_cache_is_read_each_time(digits_folder, tmp_path):
    values = {"data_dir": str(digits_folder)}
    cached = load_source(DataConfig(dataset="folder", **values), "test")
    values["cache_mb"] = 0
    root = shutil.copytree(digits_folder, tmp_path / "images")
    values["data_dir"] = str(root)
    source = load_source(DataConfig(dataset="folder", **values), "test")
    assert elements(source.ordered()) == elements(cached.ordered())
    shutil.rmtree(root)
    with pytest.raises(tf.errors.NotFoundError):
        elements(source.ordered())


def test_records_are_the_images_of_the_cache(digits):
    cached = load_source(DataConfig(dataset="digits", **digits), "test")
    records = load_source(DataConfig(dataset="digits", **digits, cache_mb=0), "test")
    assert isinstance(cached, IndexedSource)
    assert isinstance(records, RecordSource)
    decoded = [(tf.io.decode_image(image), label) for image, label in records.ordered()]
    assert elements(decoded) == elements(cached.ordered())


def test_slices_of_records(digits):
    config = DataConfig(dataset="digits", **digits, cache_mb=0)
    parts = [load_source(config, f"train{part}") for part in ("", "[:70%]", "[70%:]")]
    whole, first, rest = (elements(part.ordered()) for part in parts)
    assert first + rest == whole
    assert [sum(part.sizes) for part in parts] == [part.num_examples for part in parts]
    shuffled = parts[1].shuffled(0, 0).take(len(first))
    assert sorted(elements((image, label) for _, _, image, label in shuffled)) == sorted(first)


def test_a_data_set_to_be_fetched_by_hand_brings_its_instructions(tmp_path):
    config = DataConfig(dataset="resisc45", data_dir=str(tmp_path))
    with pytest.raises(
        UserError, match=r"resisc45.* cannot be prepared.*extract it to the manual_dir"
    ):
        load_source(config, "train")
