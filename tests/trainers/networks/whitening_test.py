import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.cli import UserError
from trainers.data.datasets import load_source
from trainers.data.pipeline import evaluation_batches
from trainers.networks.models import build_model
from trainers.networks.whitening import components, whiten_stem
from trainers.recipes import make_config


@pytest.fixture(scope="module", params=["digits", "folder"])
def whitened(request, tmp_path_factory):
    """A network's stem before and after, and all images that it was computed from."""
    values = {"model": "shufflenet_v2", "scale": 0.5, "small_images": True, "input_size": 32}
    values |= {
        "resize_size": 32,
        "train_split": "train[:500]" if request.param == "digits" else "train",
    }
    if request.param == "folder":
        values["data_dir"] = str(request.getfixturevalue("digits_folder"))
    workdir = tmp_path_factory.mktemp("whitened")
    config = make_config(request.param, str(workdir), values)
    source = load_source(config.data, config.data.train_split)
    keras.utils.set_random_seed(0)
    model = build_model(config.network, config.images, source.channels, len(source.class_names))
    before = model.get_layer("stem_conv").kernel.numpy()
    whiten_stem(model, config.data, config.images, source)
    batches = evaluation_batches(config.images, 64, source)
    images = np.concatenate([image[weight > 0] for image, _, weight in batches])
    return before, model.get_layer("stem_conv").kernel.numpy(), images


def responses(kernel, images):
    made = tf.nn.conv2d(images, kernel, 1, "VALID").numpy()
    return made.reshape(-1, made.shape[-1]).astype(np.float64)


def test_kernels_come_in_pairs_of_both_signs(whitened):
    before, after, _ = whitened
    count = min(12, np.prod(after.shape[:3]))
    np.testing.assert_array_equal(after[..., :count], -after[..., count : 2 * count])
    # There are no more components than numbers under the kernel: 9 in a grey image.
    np.testing.assert_array_equal(after[..., 2 * count :], before[..., 2 * count :])


def test_what_the_kernels_see_is_uncorrelated_and_of_like_size(whitened):
    before, after, images = whitened
    count = min(12, np.prod(after.shape[:3]))
    seen = np.cov(responses(after[..., :count], images).T)
    variances = np.diag(seen)
    # The last components are noise, which is reduced.
    assert np.all(variances <= 1) and np.all(np.diff(variances) <= 1e-6)
    assert variances[0] == pytest.approx(1, abs=2e-4) and variances[4] > 0.8
    assert np.abs(seen - np.diag(variances)).max() < 1e-3
    random = np.corrcoef(responses(before[..., :count], images).T)
    assert np.abs(random - np.eye(count)).max() > 0.9


def test_the_first_component_is_the_largest(whitened):
    _, after, images = whitened
    first = after[..., 0] / np.linalg.norm(after[..., 0])
    others = np.random.default_rng(0).normal(size=(*first.shape, 50))
    others /= np.sqrt((others**2).sum((0, 1, 2)))
    assert responses(first[..., None], images).var() >= responses(others, images).var(0).max()


def test_components_of_a_known_covariance():
    covariance = np.diag([4.0, 1.0, 9.0])
    found = np.abs(components(covariance, 2))
    expected = [[0, 1 / 2], [0, 0], [1 / 3, 0]]
    np.testing.assert_allclose(found, expected, rtol=2e-4)
    assert components(covariance, 5).shape == (3, 3)


def test_a_constant_part_of_the_images_is_harmless():
    assert np.isfinite(components(np.diag([2.0, 0.0]), 2)).all()


@pytest.mark.parametrize(
    "layers",
    [
        [keras.layers.Flatten()],
        [keras.layers.SeparableConv2D(4, 3)],
        [keras.layers.DepthwiseConv2D(3, depth_multiplier=2), keras.layers.Conv2D(4, 1)],
    ],
)
def test_a_network_that_starts_with_another_layer_is_refused(layers, tmp_path):
    config = make_config("digits", str(tmp_path), {})
    model = keras.Sequential([keras.Input((32, 32, 1)), *layers])
    with pytest.raises(UserError, match="--whiten_stem is for networks that start with"):
        whiten_stem(model, config.data, config.images, load_source(config.data, "test"))


def test_an_image_that_cannot_be_read_is_reported(digits_folder, tmp_path):
    root = shutil.copytree(digits_folder, tmp_path / "images")
    for image in (root / "train" / "one").iterdir():
        image.write_bytes(b"no picture at all")
    values = {"data_dir": str(root), "verify_images": False, "input_size": 32, "resize_size": 32}
    config = make_config("folder", str(tmp_path / "work"), values)
    source = load_source(config.data, "train")
    model = build_model(config.network, config.images, source.channels, len(source.class_names))
    with pytest.raises(UserError, match="an image of folder cannot be read"):
        whiten_stem(model, config.data, config.images, source)
