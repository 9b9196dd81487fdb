import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_shufflenet import preprocess_input
from trainers import pipeline
from trainers.cli import UserError
from trainers.datasets import load_source
from trainers.recipes import make_config
from trainers.sources import IndexedSource


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    return make_config("digits", str(folder), {"data_dir": str(folder), "batch_size": 50})


@pytest.fixture(scope="module")
def train_source(digits):
    return load_source(digits, "train")


def batches(config, source, start, count):
    stream = pipeline.training_batches(config, source, start).as_numpy_iterator()
    return list(itertools.islice(stream, count))


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
    evaluation = pipeline.evaluation_batches(digits, train_source).element_spec
    assert [s.shape for s in train] == [(50, 32, 32, 1), (50,)]
    assert [s.shape for s in evaluation] == [(50, 32, 32, 1), (50,), (50,)]


def test_the_stream_is_the_same_each_time_and_can_begin_anywhere(digits, train_source):
    config = dataclasses.replace(digits, flip=True)
    whole = batches(config, train_source, 0, 33)  # 1650 images: into the second epoch
    tf.random.set_seed(99)  # must not matter
    assert_same(batches(config, train_source, 27, 6), whole[27:])


def test_another_seed_is_another_stream(digits, train_source):
    other = dataclasses.replace(digits, seed=1)
    first, second = (batches(c, train_source, 0, 1)[0][0] for c in (digits, other))
    assert np.abs(first - second).mean() > 0.1


def test_an_image_is_augmented_anew_in_each_epoch():
    config = make_config("cifar10", "w", {"batch_size": 1})
    picture = tf.constant(np.random.default_rng(0).integers(0, 256, (32, 32, 3)), tf.uint8)
    source = IndexedSource(("a",), 1, 3, read=lambda i: (picture, tf.constant(0, tf.int64)))
    seen = {images.tobytes() for images, _ in batches(config, source, 0, 20)}
    assert len(seen) >= 18


def augmented(image, count=200, **overrides):
    config = make_config("cifar10", "w", overrides)
    positions = tf.range(count, dtype=tf.int64)
    return tf.map_fn(
        lambda p: pipeline.augment(image, p, config), positions, fn_output_signature=tf.float32
    ).numpy()


def picture(height=32, width=32):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_half_of_the_images_are_mirrored():
    image = picture()
    out = augmented(tf.constant(image), crop="none", flip=True)
    flipped = np.array([np.array_equal(o, image[:, ::-1]) for o in out])
    same = np.array([np.array_equal(o, image) for o in out])
    assert np.all(flipped ^ same)
    assert 70 <= flipped.sum() <= 130  # five sigma


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
    assert {windows[o.tobytes()] for o in out} == set(windows.values())  # all 25, none else


def test_a_resized_crop_keeps_to_its_least_area():
    # A picture whose pixels tell where they are: the extent of a crop is that of its values.
    ramp = np.stack([*np.meshgrid(np.arange(200), np.arange(200)), np.zeros((200, 200))], -1)
    out = augmented(
        tf.constant(ramp, tf.uint8), crop="resized", crop_min_area=0.5, flip=False, input_size=40,
        resize_size=40,
    )  # fmt: skip
    width, height = (np.ptp(out[..., c], axis=(1, 2)) * 40 / 39 / 200 for c in (0, 1))
    area = width * height
    assert 0.47 < area.min() < 0.6 and 0.9 < area.max() < 1.05
    assert np.ptp(width / height) > 0.2


def test_every_image_is_evaluated_once(digits):
    source = load_source(digits, "test")
    batches = pipeline.evaluation_batches(digits, source).as_numpy_iterator()
    images, labels, weights = map(np.concatenate, zip(*batches, strict=True))
    assert len(weights) == 400
    assert weights.tolist() == [1] * 360 + [0] * 40
    expected, expected_labels = pipeline.uint8_images(digits, "test")
    np.testing.assert_array_equal(labels[:360], expected_labels)
    np.testing.assert_array_equal(images[:360], preprocess_input(expected, mode="tf"))
    assert np.isfinite(images).all()


def test_a_split_that_fills_its_batches_gets_no_filling(digits):
    source = load_source(digits, "test[:100]")
    batches = list(pipeline.evaluation_batches(digits, source))
    assert [float(weights.numpy().sum()) for _, _, weights in batches] == [50, 50]


def test_uint8_images_are_the_files_where_sizes_agree(digits_folder, tmp_path):
    values = {"data_dir": str(digits_folder), "input_size": 32, "resize_size": 32}
    config = make_config("folder", str(tmp_path), values)
    images, labels = pipeline.uint8_images(config, "test")
    files = load_source(config, "test").ordered()
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(images, [tf.io.decode_jpeg(file).numpy() for file, _ in files])
    np.testing.assert_array_equal(labels, [label.numpy() for _, label in files])


def test_a_sample_is_random_without_repetition(digits):
    every, _ = pipeline.uint8_images(digits, "test")
    sample, _ = pipeline.uint8_images(digits, "test", limit=360, shuffle=True, seed=5)
    again, _ = pipeline.uint8_images(digits, "test", limit=360, shuffle=True, seed=5)
    np.testing.assert_array_equal(sample, again)
    assert not np.array_equal(sample, every)
    assert sorted(map(bytes, sample)) == sorted(map(bytes, every))


def test_a_limit_above_the_split_gives_the_split(digits):
    assert len(pipeline.uint8_images(digits, "test[:7]", limit=1000)[0]) == 7


@pytest.mark.parametrize(("height", "width"), [(48, 96), (97, 61), (64, 64), (40, 333)])
def test_center_crop_is_pillows(height, width):
    from PIL import Image

    image = np.kron(picture(height // 4 + 1, width // 4 + 1), np.ones((4, 4, 1)))[:height, :width]
    shorter = min(height, width)
    scaled = (round(width * 48 / shorter), round(height * 48 / shorter))
    expected = Image.fromarray(image.astype(np.uint8)).resize(scaled, Image.Resampling.BILINEAR)
    left, top = (scaled[0] - 32) // 2, (scaled[1] - 32) // 2
    expected = np.asarray(expected.crop((left, top, left + 32, top + 32)), np.float32)
    ours = pipeline.center_crop(tf.constant(image, tf.uint8), 48, 32).numpy()
    np.testing.assert_allclose(ours, expected, atol=1.01)  # Pillow rounds twice


def test_a_corrupt_image_names_the_remedy(digits_folder, tmp_path):
    import shutil

    root = shutil.copytree(digits_folder, tmp_path / "images")
    (root / "test" / "one" / "040.jpg").write_bytes(b"no picture")
    values = {"data_dir": str(root), "verify_images": False}
    config = make_config("folder", str(tmp_path), values)
    with pytest.raises(UserError, match=r"cannot be read .* --verify_images"):
        pipeline.uint8_images(config, "test")


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
