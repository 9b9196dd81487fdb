import numpy as np
import pytest
import tensorflow as tf

from trainers.data.images import mixing
from trainers.recipes import make_config

BATCH, SIZE = 256, 24


def mixed(position=0, **values):
    """Mixes images whose pixels all equal the image's number; returns the pixels and labels."""
    config = make_config("digits", "w", {"batch_size": BATCH, **values})
    images = (
        tf.ones([BATCH, SIZE, SIZE, 1]) * tf.range(BATCH, dtype=tf.float32)[:, None, None, None]
    )
    labels = tf.eye(BATCH)
    key = tf.constant([config.optimization.seed, position], tf.int64)
    images, labels = mixing.mix(images, labels, key, config.augmentation)
    return images.numpy()[..., 0], labels.numpy()


def neighbours(step=1):
    return np.roll(np.arange(BATCH), step)


def shares_of(labels, step=1):
    own = labels[np.arange(BATCH), np.arange(BATCH)]
    other = labels[np.arange(BATCH), neighbours(step)]
    np.testing.assert_allclose(own + other, 1, atol=1e-6)
    assert ((labels > 1e-6).sum(1) <= 2).all()
    return own


def test_mixup_blends_images_and_labels_alike():
    images, labels = mixed(mixup=0.2)
    own = shares_of(labels)
    expected = own * np.arange(BATCH) + (1 - own) * neighbours()
    expected = np.broadcast_to(expected[:, None, None], images.shape)
    np.testing.assert_allclose(images, expected, atol=1e-3)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_shares_are_drawn_from_a_beta_distribution(alpha):
    shares = np.concatenate([shares_of(mixed(p, mixup=alpha)[1]) for p in range(8)])
    deviation = np.sqrt(1 / (4 * (2 * alpha + 1)))
    assert abs(shares.mean() - 0.5) < 5 * deviation / np.sqrt(shares.size)
    assert shares.std() == pytest.approx(deviation, rel=0.08)
    assert np.isfinite(shares).all()


def test_a_tiny_alpha_still_gives_finite_shares():
    assert np.isfinite(mixed(mixup=0.001)[0]).all()


def test_cutmix_pastes_a_box_and_counts_its_pixels():
    images, labels = mixed(cutmix=1.0)
    own = shares_of(labels)
    for number, neighbour in zip(range(BATCH), neighbours(), strict=True):
        foreign = images[number] == neighbour
        assert (foreign | (images[number] == number)).all()
        assert 1 - foreign.mean() == pytest.approx(own[number], abs=1e-6)
        rows, columns = foreign.any(1), foreign.any(0)
        assert foreign.sum() == rows.sum() * columns.sum()  # a rectangle
    # The border cuts boxes off, so that more of the image is left.
    assert 0.5 < own.mean() < 0.75 and own.min() < 0.2


def test_each_image_gets_one_of_both():
    images, _ = mixed(mixup=1.0, cutmix=1.0)
    pairs = zip(range(BATCH), neighbours(), images, strict=True)
    cut = sum(np.isin(image, [number, other]).all() for number, other, image in pairs)
    assert 88 <= cut <= 168  # five sigma


def test_variants_of_one_image_are_not_mixed_with_each_other():
    _, labels = mixed(mixup=1.0, repeated_augmentation=4)
    shares_of(labels, step=4)


def test_mixing_depends_only_on_seed_and_place():
    first = mixed(512, mixup=0.2, cutmix=1.0)
    tf.random.set_seed(3)
    for mine, again in zip(first, mixed(512, mixup=0.2, cutmix=1.0), strict=True):
        np.testing.assert_array_equal(mine, again)
    assert np.abs(first[0] - mixed(768, mixup=0.2, cutmix=1.0)[0]).max() > 1
    assert np.abs(first[0] - mixed(512, mixup=0.2, cutmix=1.0, seed=1)[0]).max() > 1


def erased(probability, batch=2000):
    images = tf.ones([batch, SIZE, SIZE, 2])
    return mixing.erase(images, tf.zeros(2, tf.int64), probability).numpy()


def test_erasing_hits_its_share_of_the_images():
    out = erased(0.1)
    hit = (out == 0).any((1, 2, 3))
    assert 130 <= hit.sum() <= 270
    np.testing.assert_array_equal(out[~hit], 1)


def test_what_is_erased_is_a_rectangle_of_the_papers_area_and_ratio():
    out = erased(1.0)
    gone = out[..., 0] == 0
    np.testing.assert_array_equal(out[..., 1] == 0, gone)
    heights, widths = gone.any(2).sum(1), gone.any(1).sum(1)
    areas = gone.sum((1, 2))
    np.testing.assert_array_equal(areas, heights * widths)
    assert areas.min() / SIZE**2 > 0.01 and areas.max() / SIZE**2 < 0.37
    assert areas.mean() / SIZE**2 == pytest.approx((0.02 + 0.33) / 2, abs=0.01)
    assert 0.2 < (heights / widths).min() < 0.45 and 2.2 < (heights / widths).max() < 4.5
    # Every place is erased at some time.
    assert gone.any(0).all()
