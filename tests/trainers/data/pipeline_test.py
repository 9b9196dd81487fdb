import itertools

import numpy as np
import pytest
import tensorflow as tf

from common.cli import UserError
from keras_shufflenet import preprocess_input
from trainers.data import pipeline
from trainers.data.datasets import load_source
from trainers.data.images.decoding import decode
from trainers.data.sources import IndexedSource
from trainers.recipes import make_config


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    return make_config("digits", str(folder), {"data_dir": str(folder), "batch_size": 50})


@pytest.fixture(scope="module")
def train_source(digits):
    return load_source(digits.data, "train")


def batches(config, source, start, count):
    stream = pipeline.training_batches(config, source, start).as_numpy_iterator()
    return list(itertools.islice(stream, count))


def evaluation_batches(config, *arguments):
    size = config.optimization.batch_size
    return pipeline.evaluation_batches(config.images, size, *arguments)


def assert_same(first, second):
    for (images, labels), (other_images, other_labels) in zip(first, second, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


def test_a_training_batch(digits, train_source):
    ((images, labels),) = batches(digits, train_source, 0, 1)
    assert (images.shape, images.dtype) == ((50, 32, 32, 1), np.float32)
    assert (labels.shape, labels.dtype) == ((50,), np.int64)
    assert -1 <= images.min() < -0.9 and 0.9 < images.max() <= 1


def test_shapes_are_static(digits, train_source):
    train = pipeline.training_batches(digits, train_source, 0).element_spec
    evaluation = evaluation_batches(digits, train_source).element_spec
    assert [s.shape for s in train] == [(50, 32, 32, 1), (50,)]
    assert [s.shape for s in evaluation] == [(50, 32, 32, 1), (50,), (50,)]


def test_the_stream_is_the_same_each_time_and_can_start_anywhere(digits, train_source):
    config = digits.replace(flip=True)
    whole = batches(config, train_source, 0, 33)  # 1650 images: into the second epoch
    tf.random.set_seed(99)  # must not matter
    assert_same(batches(config, train_source, 27, 6), whole[27:])


def test_repeated_augmentation_shows_each_image_in_variants(digits, train_source):
    plain = digits.replace(batch_size=12, crop="none")
    repeated = plain.replace(batch_size=48, repeated_augmentation=4)
    ((images, labels),) = batches(plain, train_source, 0, 1)
    ((four, four_labels),) = batches(repeated, train_source, 0, 1)
    np.testing.assert_array_equal(four, np.repeat(images, 4, axis=0))
    np.testing.assert_array_equal(four_labels, np.repeat(labels, 4))
    ((variants, _),) = batches(repeated.replace(crop="pad"), train_source, 0, 1)
    assert len({image.tobytes() for image in variants}) > 40
    ((mirrored, _),) = batches(repeated.replace(flip=True), train_source, 0, 1)
    same = (mirrored == four).all((1, 2, 3)).reshape(-1, 4)
    assert np.all(same.sum(1) == 2) and np.all(same[:, 0] != same[:, 1])


def test_everything_random_can_start_anywhere_too(digits, train_source):
    config = digits.replace(
        flip=True,
        color_jitter=0.4,
        trivial_augment=True,
        random_erasing=0.5,
        repeated_augmentation=2,
        mixup=0.2,
        cutmix=1.0,
    )
    whole = batches(config, train_source, 0, 5)
    tf.random.set_seed(99)  # must not matter
    assert_same(batches(config, train_source, 3, 2), whole[3:])
    assert all(np.isfinite(images).all() for images, _ in whole)


@pytest.mark.parametrize("how", [{"mixup": 0.2}, {"cutmix": 1.0}])
def test_mixed_labels_are_shares(digits, train_source, how):
    config = digits.replace(**how)
    spec = pipeline.training_batches(config, train_source, 0).element_spec
    assert [(s.shape, s.dtype) for s in spec] == [
        ((50, 32, 32, 1), tf.float32),
        ((50, 10), tf.float32),
    ]
    ((_, labels),) = batches(config, train_source, 0, 1)
    ((_, classes),) = batches(digits, train_source, 0, 1)
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
    assert (labels[np.arange(50), classes] > 0).mean() > 0.9
    assert ((labels > 0) & (labels < 1)).any()


def test_erasing_erases_to_the_middle(digits, train_source):
    ((images, _),) = batches(digits, train_source, 0, 1)
    ((erased, _),) = batches(digits.replace(random_erasing=1.0), train_source, 0, 1)
    changed = images != erased
    assert changed.any((1, 2, 3)).mean() > 0.9
    np.testing.assert_array_equal(erased[changed], 0)


def test_training_may_have_another_size(digits, train_source):
    config = digits.replace(resize_size=40, train_size=36)
    ((images, _),) = batches(config, train_source, 0, 1)
    assert images.shape == (50, 36, 36, 1)


def test_another_seed_is_another_stream(digits, train_source):
    other = digits.replace(seed=1)
    first, second = (batches(c, train_source, 0, 1)[0][0] for c in (digits, other))
    assert np.abs(first - second).mean() > 0.1


def test_an_image_is_augmented_differently_in_each_epoch():
    config = make_config("cifar10", "w", {"batch_size": 1, "crop_padding": 4})
    picture = tf.constant(np.random.default_rng(0).integers(0, 256, (32, 32, 3)), tf.uint8)
    source = IndexedSource(("a",), 1, 3, read=lambda i: (picture, tf.constant(0, tf.int64)))
    seen = {images.tobytes() for images, _ in batches(config, source, 0, 20)}
    assert len(seen) >= 18


def test_every_image_is_evaluated_once(digits):
    source = load_source(digits.data, "test")
    batches = evaluation_batches(digits, source).as_numpy_iterator()
    images, labels, weights = map(np.concatenate, zip(*batches, strict=True))
    assert len(weights) == 400
    assert weights.tolist() == [1] * 360 + [0] * 40
    expected, expected_labels = pipeline.uint8_images(digits, "test")
    np.testing.assert_array_equal(labels[:360], expected_labels)
    np.testing.assert_array_equal(images[:360], preprocess_input(expected, mode="tf"))
    assert np.isfinite(images).all()


CLUSTERS = [(1, 2), (2, 2), (2, 4)]


def contexts(workers, devices):
    return [tf.distribute.InputContext(workers, worker, devices) for worker in range(workers)]


@pytest.mark.parametrize(("workers", "devices"), CLUSTERS)
def test_workers_and_devices_share_each_training_batch(digits, train_source, workers, devices):
    config = digits.replace(batch_size=48, flip=True, repeated_augmentation=2)
    whole = batches(config, train_source, 3, 2)
    shares = []
    for context in contexts(workers, devices):
        stream = pipeline.training_batches(config, train_source, 3, context).as_numpy_iterator()
        shares.append(list(itertools.islice(stream, 2 * devices // workers)))
    for step in range(2):
        own = slice(step * devices // workers, (step + 1) * devices // workers)
        images, labels = map(
            np.concatenate, zip(*itertools.chain(*(s[own] for s in shares)), strict=True)
        )
        assert len(shares[0][0][0]) == 48 // devices
        np.testing.assert_array_equal(images, whole[step][0])
        np.testing.assert_array_equal(labels, whole[step][1])


@pytest.mark.parametrize(("workers", "devices"), CLUSTERS)
def test_every_image_is_evaluated_once_with_any_number_of_workers(digits, workers, devices):
    source = load_source(digits.data, "test[:70]")
    config = digits.replace(batch_size=48)
    shares = [list(evaluation_batches(config, source, c)) for c in contexts(workers, devices)]
    assert {len(share) for share in shares} == {2 * devices // workers}
    images, labels, weights = map(np.concatenate, zip(*itertools.chain(*shares), strict=True))
    assert len(images) == 96 and weights.sum() == 70
    (whole, whole_labels, _), (rest, rest_labels, _) = evaluation_batches(config, source)
    expected = sorted(
        zip(
            map(bytes, np.concatenate([whole, rest])[:70]),
            np.concatenate([whole_labels, rest_labels])[:70],
            strict=True,
        )
    )
    counted = weights == 1
    assert sorted(zip(map(bytes, images[counted]), labels[counted], strict=True)) == expected


def test_a_split_that_fills_its_batches_gets_no_padding(digits):
    source = load_source(digits.data, "test[:100]")
    batches = list(evaluation_batches(digits, source))
    assert [float(weights.numpy().sum()) for _, _, weights in batches] == [50, 50]


def test_uint8_images_are_the_files_if_sizes_agree(digits_folder, tmp_path):
    values = {"data_dir": str(digits_folder), "input_size": 32, "resize_size": 32}
    config = make_config("folder", str(tmp_path), values)
    images, labels = pipeline.uint8_images(config, "test")
    files = load_source(config.data, "test").ordered()
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(images, [decode(file, 3).numpy() for file, _ in files])
    np.testing.assert_array_equal(labels, [label.numpy() for _, label in files])


def test_a_sample_is_random_without_repetition(digits):
    every, _ = pipeline.uint8_images(digits, "test")
    sample, _ = pipeline.uint8_images(digits, "test", limit=360, seed=5)
    again, _ = pipeline.uint8_images(digits, "test", limit=360, seed=5)
    np.testing.assert_array_equal(sample, again)
    assert not np.array_equal(sample, every)
    assert sorted(map(bytes, sample)) == sorted(map(bytes, every))


def test_a_limit_above_the_split_gives_the_split(digits):
    assert len(pipeline.uint8_images(digits, "test[:7]", limit=1000)[0]) == 7


# Not an image, the first bytes of a JPEG, and half a JPEG.
@pytest.mark.parametrize("resize_size", [32, 80])
@pytest.mark.parametrize("damage", [lambda _: b"no picture", lambda d: d[:4], lambda d: d[:500]])
def test_a_corrupt_image_names_the_remedy(digits_folder, tmp_path, damage, resize_size):
    import shutil

    root = shutil.copytree(digits_folder, tmp_path / "images")
    file = root / "test" / "one" / "040.jpg"
    file.write_bytes(damage(file.read_bytes()))
    values = {"data_dir": str(root), "verify_images": False, "resize_size": resize_size}
    config = make_config("folder", str(tmp_path), {**values, "input_size": 32})
    with pytest.raises(UserError, match=r"cannot be read .* --verify_images"):
        pipeline.uint8_images(config, "test")


@pytest.mark.slow
def test_memory_stays_flat_over_epochs(digits, train_source):
    import resource

    stream = iter(pipeline.training_batches(digits, train_source, 0))
    for _ in range(100):
        next(stream)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(300):
        next(stream)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 30_000  # KiB; 300 batches are 60,000 KiB
