"""The download is from a file:// address and of a file made here; the table's own addresses and
files were never asked: tests have no network."""

import hashlib

import numpy as np
import pytest

from keras_shufflenet import ShuffleNetV2, preprocessing_of
from keras_shufflenet.checkpoints import pretrained
from keras_shufflenet.checkpoints.files import write_tensors
from keras_shufflenet.checkpoints.weights import torchvision_tensors

SCALE = 0.5


@pytest.fixture(scope="module")
def published():
    model = ShuffleNetV2(SCALE, input_shape=(32, 32, 3), padding="symmetric")
    for weight in model.weights:
        if weight.name in ("beta", "bias", "moving_mean"):
            weight.assign(np.random.default_rng(0).normal(0, 0.1, weight.shape))
    return model


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("KERAS_HOME", str(folder))
    return folder


@pytest.fixture
def address(published, tmp_path, monkeypatch, home):
    """Puts a file like torchvision's where the table points, by the name it would have."""
    server = tmp_path / "server"
    server.mkdir()
    write_tensors(server / "a.npz", torchvision_tensors(published))
    digits = hashlib.sha256((server / "a.npz").read_bytes()).hexdigest()[:8]
    file = (server / "a.npz").rename(server / f"shufflenetv2_x0.5-{digits}.npz")
    source = pretrained.Source(file.as_uri(), 60.0, 80.0, 256)
    monkeypatch.setitem(pretrained.SOURCES, SCALE, source)
    return file


def build(**arguments):
    return ShuffleNetV2(SCALE, weights="imagenet", input_shape=(32, 32, 3), **arguments)


def assert_equal(model, published, count):
    for weight, expected in list(zip(model.weights, published.weights, strict=False))[:count]:
        np.testing.assert_array_equal(weight.numpy(), expected.numpy(), err_msg=weight.path)


def test_downloaded_converted_once_and_kept(published, address, home):
    model = build()
    kept = {path.name for path in (home / "models").iterdir()}
    address.unlink()
    (home / "models" / address.name).unlink()
    again = build(include_top=False)

    assert kept == {
        address.name,
        f"{address.stem}.weights.h5",
        f"{address.stem}.weights.h5.sha256",
    }
    assert_equal(model, published, len(published.weights))
    assert_equal(again, published, len(published.weights) - 2)
    assert preprocessing_of(model) == "torch"
    assert model.get_layer("stage2_unit1").padding == "symmetric"


def test_other_classes_leave_the_classifier_random(published, address):
    model = build(classes=10)
    assert_equal(model, published, len(published.weights) - 2)
    assert not np.asarray(model.get_layer("predictions").bias).any()


@pytest.mark.slow
def test_what_was_kept_is_checked_on_reading(published, address, home):
    pretrained.imagenet(SCALE, ShuffleNetV2)
    converted = home / "models" / f"{address.stem}.weights.h5"
    data = bytearray(converted.read_bytes())
    data[len(data) // 2] ^= 1
    converted.write_bytes(data)
    tensors = pretrained.imagenet(SCALE, ShuffleNetV2).tensors

    for key, array in torchvision_tensors(published).items():
        np.testing.assert_array_equal(tensors[key], array, err_msg=key)


def test_a_download_that_was_cut_short_is_done_again(published, address, home):
    (home / "models").mkdir()
    (home / "models" / address.name).write_bytes(address.read_bytes()[:1000])
    assert_equal(build(), published, len(published.weights))


def test_another_file_at_the_address_is_refused(address, home):
    address.write_bytes(address.read_bytes() + b"more")
    with pytest.raises(ValueError, match=r"not the published file, whose SHA-256 begins with"):
        pretrained.imagenet(SCALE, ShuffleNetV2)
    assert list((home / "models").iterdir()) == []


def test_a_bad_file_is_not_kept(tmp_path, home, monkeypatch):
    write_tensors(tmp_path / "a.npz", {"conv1.0.weight": np.zeros((1, 1, 1, 1))})
    digits = hashlib.sha256((tmp_path / "a.npz").read_bytes()).hexdigest()[:8]
    file = (tmp_path / "a.npz").rename(tmp_path / f"bad-{digits}.npz")
    source = pretrained.Source(file.as_uri(), 60.0, 80.0, 256)
    monkeypatch.setitem(pretrained.SOURCES, SCALE, source)
    with pytest.raises(ValueError, match=r"bad-.*first key is 'conv1\.0\.weight'"):
        pretrained.imagenet(SCALE, ShuffleNetV2)
    assert [path.name for path in (home / "models").iterdir()] == [file.name]


def test_without_a_network_the_error_says_where_to_put_the_file(published, address, home):
    name = address.name
    elsewhere = address.rename(address.with_name("elsewhere"))
    with pytest.raises(ConnectionError, match=rf"put that file at .*models.{name}"):
        build()
    assert list((home / "models").iterdir()) == []

    elsewhere.rename(home / "models" / name)
    assert_equal(build(), published, len(published.weights))


def test_other_settings_are_refused(address):
    with pytest.raises(ValueError, match=r"`padding` must be .*'imagenet'"):
        build(padding="same")


def test_the_table_is_torchvisions():
    # torchvision/models/shufflenetv2.py at v0.20.
    assert [
        (scale, source.url.rpartition("/")[2], source.top1, source.top5, source.resize)
        for scale, source in pretrained.SOURCES.items()
    ] == [
        (0.5, "shufflenetv2_x0.5-f707e7126e.pth", 60.552, 81.746, 256),
        (1.0, "shufflenetv2_x1-5666bf0f80.pth", 69.362, 88.316, 256),
        (1.5, "shufflenetv2_x1_5-3c479a10.pth", 72.996, 91.086, 232),
        (2.0, "shufflenetv2_x2_0-8be3c8ee.pth", 76.230, 93.006, 232),
    ]
    for source in pretrained.SOURCES.values():
        assert source.url.startswith("https://download.pytorch.org/models/")


def test_unknown_scales_are_named(home):
    with pytest.raises(ValueError, match=r"`weights`='imagenet'.*0\.5, 1\.0, 1\.5, 2\.0.*0\.75"):
        ShuffleNetV2(0.75, weights="imagenet")
