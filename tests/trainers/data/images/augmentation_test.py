import itertools

import numpy as np
import pytest
import tensorflow as tf

from trainers.data.images import augmentation
from trainers.data.images.crops import center_crop
from trainers.recipes import make_config


def each(function, elems):
    """Returns function(element) for all elements; in a graph, which is many times faster."""
    mapped = tf.function(lambda: tf.map_fn(function, elems, fn_output_signature=tf.float32))
    return mapped().numpy()


def augmented(image, count=200, **overrides):
    config = make_config("cifar10", "w", overrides)
    settings, seed = (config.augmentation, config.images), tf.constant(config.optimization.seed)

    def augment(place):
        key = tf.stack([tf.cast(seed, tf.int64), place])
        return augmentation.augment(image, key, place + key[0], *settings)

    return each(augment, tf.range(count, dtype=tf.int64))


def keys_of(count):
    return tf.stack([tf.range(count, dtype=tf.int64), tf.zeros(count, tf.int64)], axis=1)


def picture(height=32, width=32):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("seed", [0, 1])
def test_an_image_is_mirrored_in_every_other_epoch(seed):
    image = picture()
    out = augmented(tf.constant(image), count=6, crop="none", flip=True, seed=seed)
    for visit, variant in enumerate(out):
        np.testing.assert_array_equal(variant, image[:, ::-1] if (visit + seed) % 2 else image)


def test_without_crop_and_flip_nothing_changes():
    image = picture()
    out = augmented(tf.constant(image), count=3, crop="none", flip=False)
    np.testing.assert_array_equal(out, np.stack([image] * 3))


def test_a_padded_crop_is_a_window_of_the_reflected_image():
    image = picture()
    padded = np.pad(image, [(2, 2), (2, 2), (0, 0)], "reflect")
    windows = {
        padded[y : y + 32, x : x + 32].astype(np.float32).tobytes(): (y, x)
        for y, x in itertools.product(range(5), range(5))
    }
    out = augmented(tf.constant(image), crop="pad", crop_padding=2, flip=False)
    assert {windows[o.tobytes()] for o in out} == set(windows.values())  # all 25, no others


def test_a_resized_crop_has_at_least_the_smallest_area():
    # Each pixel's value is its position, so the range of a crop's values is its extent.
    ramp = np.stack([*np.meshgrid(np.arange(200), np.arange(200)), np.zeros((200, 200))], -1)
    out = augmented(
        tf.constant(ramp, tf.uint8), crop="resized", crop_min_area=0.5, flip=False, input_size=40,
        resize_size=40,
    )  # fmt: skip
    width, height = (np.ptp(out[..., c], axis=(1, 2)) * 40 / 39 / 200 for c in (0, 1))
    area = width * height
    assert 0.47 < area.min() < 0.6 and 0.9 < area.max() < 1.05
    assert np.ptp(width / height) > 0.2


def test_training_images_may_have_another_size():
    image = tf.constant(picture(64, 48))
    out = augmented(
        image, count=2, crop="resized", input_size=40, resize_size=48, train_size=36, flip=False
    )
    assert out.shape == (2, 36, 36, 3)


@pytest.mark.parametrize("size", [32, 48])
def test_at_another_size_as_much_of_the_image_is_seen(size):
    image = tf.constant(picture(64, 48))
    sizes = {"input_size": 40, "resize_size": 50, "train_size": size}
    (out,) = augmented(image, count=1, crop="none", flip=False, **sizes)
    np.testing.assert_array_equal(out, center_crop(image, round(1.25 * size), size))


def jittered(image, count, strength):
    return each(lambda key: augmentation.color_jitter(image, key, strength), keys_of(count))


def test_color_jitter_of_a_grey_image_is_its_brightness():
    # Contrast and saturation do not change a uniform grey, so only the brightness factor shows.
    out = jittered(tf.fill([4, 4, 3], 100.0), 400, 0.4) / 100
    assert np.ptp(out, axis=(1, 2, 3)).max() < 1e-5
    factors = out[:, 0, 0, 0]
    assert 0.6 <= factors.min() < 0.62 and 1.38 < factors.max() <= 1.4
    assert abs(factors.mean() - 1) < 5 * 0.4 / np.sqrt(3 * 400)


def test_color_jitter_changes_in_every_order():
    image = tf.constant(picture(8, 8), tf.float32)
    key = tf.constant([3, 0], tf.int64)
    factors = tf.random.stateless_uniform([3], key, 0.6, 1.4).numpy()
    changes = (
        augmentation.image_ops.brightness,
        augmentation.image_ops.contrast,
        augmentation.image_ops.saturation,
    )
    found = augmentation.color_jitter(image, key, 0.4).numpy()
    errors = []
    for order in itertools.permutations(range(3)):
        expected = image
        for change in order:
            expected = changes[change](expected, factors[change])
        errors.append(np.abs(found - expected.numpy()).max())
    assert sorted(errors)[0] < 1e-3 < sorted(errors)[1]
    orders = {
        tuple(np.argsort(tf.random.stateless_uniform([3], augmentation._fold(key, 1)).numpy()))
        for key in tf.constant([[seed, 0] for seed in range(60)], tf.int64)
    }
    assert len(orders) == 6


def test_trivial_augment_takes_every_operation_equally_often(monkeypatch):
    names = list(augmentation.trivial_operations(tf.constant(0.0), tf.constant(0.0)))
    marked = {
        name: lambda image, number=number: tf.zeros_like(image) + number
        for number, name in enumerate(names)
    }
    monkeypatch.setattr(augmentation, "trivial_operations", lambda strength, signed: marked)
    image = tf.zeros([2, 2, 3])
    out = each(lambda key: augmentation.trivial_augment(image, key), keys_of(1400))
    counts = np.bincount(out[:, 0, 0, 0].astype(int), minlength=14)
    assert len(names) == len(counts) == 14
    assert counts.min() > 50 and counts.max() < 150  # 100 each, five sigma


def test_trivial_augment_draws_every_strength_both_ways(monkeypatch):
    monkeypatch.setattr(
        augmentation,
        "trivial_operations",
        lambda *strengths: {"marked": lambda image: image * 0 + tf.stack(strengths)},
    )
    image = tf.zeros([1, 1, 2])
    out = each(lambda key: augmentation.trivial_augment(image, key), keys_of(600))[:, 0, 0]
    assert sorted(set(np.round(out[:, 0] * 30, 4))) == list(range(31))
    np.testing.assert_array_equal(out[:, 0], np.abs(out[:, 1]))
    assert 230 < (out[:, 1] > 0).sum() < 370


def test_trivial_operations_have_torchvisions_strengths():
    ramp = tf.range(256, dtype=tf.float32)[None, :, None] * tf.ones([3, 1, 3])
    full = augmentation.trivial_operations(tf.constant(1.0), tf.constant(-1.0))
    assert len(np.unique(full["posterize"](ramp))) == 4  # 2 bits
    np.testing.assert_array_equal(full["solarize"](ramp), 255 - ramp)
    np.testing.assert_allclose(full["brightness"](ramp), 0.01 * ramp, atol=1e-3)
    np.testing.assert_array_equal(full["translate_x"](ramp)[:, :224], ramp[:, 32:])
    none = augmentation.trivial_operations(tf.constant(0.0), tf.constant(0.0))
    for name, operation in none.items():
        if name not in ("autocontrast", "equalize"):
            # Even at its lowest strength, solarize turns white into black, as in torchvision.
            found, expected = (x[:, :255] for x in (operation(ramp), ramp))
            np.testing.assert_allclose(found, expected, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("channels", [1, 3])
def test_augmented_images_keep_shape_and_range_and_can_be_repeated(channels):
    image = tf.constant(picture()[..., :channels])
    values = {"color_jitter": 0.4, "trivial_augment": True, "crop": "resized"}
    out = augmented(image, count=40, **values)
    assert out.shape == (40, 32, 32, channels)
    assert np.isfinite(out).all() and out.min() >= 0 and out.max() <= 255
    tf.random.set_seed(7)  # must not matter
    np.testing.assert_array_equal(out[:5], augmented(image, count=5, **values))
    assert len({o.tobytes() for o in out}) > 35


def test_new_augmentation_leaves_crop_and_flip_as_they_were():
    image = tf.constant(picture())
    plain = augmented(image, count=10)
    faint = augmented(image, count=10, color_jitter=1e-6)
    np.testing.assert_allclose(plain, faint, atol=1e-2)
