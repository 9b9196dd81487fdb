import numpy as np
import pytest
import tensorflow as tf

from common.detection.boxes import make_points
from common.detection.nms import detect
from keras_shufflenet import preprocess_input
from trainers.detection.augmentation import NONE, BoxAugmentation, Boxes, augment
from trainers.detection.batches import (
    BatchSettings,
    box_source,
    evaluation_images,
    training_batches,
)
from trainers.detection.evaluation import found_in, precision_of

pytestmark = pytest.mark.medium

WIDTH, HEIGHT = 96, 64


def colour(images, box):
    left, top, right, bottom = (round(float(side)) for side in box)
    # Without the border, which is a mixture.
    return images[top + 2 : bottom - 2, left + 2 : right - 2].reshape(-1, 3).mean(0)


def check_squares(images, truth):
    """Every wanted box is full of its class's colour; returns how many there are."""
    pixels = (np.asarray(images) + 1) * 127.5
    number = 0
    for image, boxes, classes, wanted in zip(pixels, *map(np.asarray, truth[:3]), strict=True):
        for box, label in zip(boxes[wanted], classes[wanted], strict=True):
            if (box[2:] - box[:2]).min() < 7:
                continue
            number += 1
            found = colour(image, box)
            assert found[2 * label] > found[2 - 2 * label] + 80, (box, label, found)
    return number


@pytest.mark.parametrize("kind", ["none", "all", "mosaic"])
def test_boxes_stay_on_their_objects(squares, kind):
    settings = BatchSettings(height=64, width=64, batch_size=7)
    share = 0.7 if kind == "mosaic" else 0.0
    how = NONE if kind == "none" else BoxAugmentation(flip_vertical=True, mosaic=share)
    stream = training_batches(settings, how, box_source(squares))
    seen = 0
    for images, truth in stream.take(1 if kind == "none" else 12):
        most = 12 if kind == "mosaic" else 3
        assert images.shape == (7, 64, 64, 3) and truth.boxes.shape == (7, most, 4)
        boxes = truth.boxes.numpy()
        assert boxes.min() >= 0 and boxes.max() <= 64
        seen += check_squares(images, truth)
    if kind == "none":
        assert seen == squares.counts().sum()
        assert int(tf.reduce_sum(tf.cast(truth.wanted, tf.int32))) == squares.counts().sum()
    else:
        assert seen > 50


def test_the_stream_resumes_where_it_stopped(squares):
    settings = BatchSettings(height=32, width=64, batch_size=2, seed=3)
    make = [training_batches(settings, BoxAugmentation(), box_source(squares), n) for n in (0, 4)]
    whole = list(make[0].take(6))
    again = list(make[1].take(2))
    for (images, truth), (others, other) in zip(whole[4:], again, strict=True):
        np.testing.assert_array_equal(images, others)
        np.testing.assert_array_equal(truth.boxes, other.boxes)
    assert np.abs(whole[4][0] - whole[5][0]).max() > 0.1


def test_workers_share_the_stream(squares):
    settings = BatchSettings(height=32, width=32, batch_size=4)
    (whole,) = training_batches(settings, BoxAugmentation(), box_source(squares)).take(1)
    for worker in range(2):
        context = tf.distribute.InputContext(2, worker, 2)
        stream = training_batches(settings, BoxAugmentation(), box_source(squares), 0, context)
        (mine,) = stream.take(1)
        part = slice(2 * worker, 2 * worker + 2)
        np.testing.assert_array_equal(mine[0], whole[0][part])
        np.testing.assert_array_equal(mine[1].boxes, whole[1].boxes[part])


def test_a_box_that_is_mostly_cut_off_is_ignored_and_a_lost_one_is_padding():
    image = tf.zeros([100, 100, 3], tf.uint8)
    corners = np.float32([[30, 30, 60, 60], [0, 40, 28, 60], [0, 0, 20, 20], [0, 0, 0, 0]])
    wanted = tf.constant([True, True, True, False])
    boxes = Boxes(tf.constant(corners), tf.zeros(4, tf.int32), wanted, tf.zeros(4, tf.bool))
    from trainers.detection.augmentation import cut_out

    _, cut = cut_out(image, boxes, tf.constant([0.25, 0.25, 0.75, 0.75]), (100, 100))
    assert cut.wanted.numpy().tolist() == [True, False, False, False]
    assert cut.ignored.numpy().tolist() == [False, True, False, False]
    np.testing.assert_allclose(cut.boxes[:2], [[10, 10, 70, 70], [0, 30, 6, 70]], atol=1e-4)


def test_around_an_image_there_is_grey():
    image = tf.fill([10, 10, 1], tf.constant(200, tf.uint8))
    nothing = Boxes(
        tf.zeros([1, 4]), tf.zeros(1, tf.int32), tf.constant([False]), tf.constant([False])
    )
    how = BoxAugmentation(False, False, (2.0, 2.0), 0.0, 0.0, 0.0)
    found, _ = augment(image, nothing, tf.constant([0, 1], tf.int64), (40, 40), how)
    assert sorted(set(np.round(found.numpy()).ravel().tolist()))[0] == 114
    assert (found.numpy() > 199).sum() == pytest.approx(400, abs=80)


def test_a_mosaic_has_the_objects_of_four_images(squares):
    settings = BatchSettings(height=96, width=96, batch_size=7)
    plain, mosaics = (
        training_batches(settings, BoxAugmentation(mosaic=share), box_source(squares)).take(12)
        for share in (1e-9, 1.0)
    )
    counts = [
        np.concatenate([truth.wanted.numpy().sum(1) for _, truth in stream])
        for stream in (plain, mosaics)
    ]
    assert counts[0].max() <= 3 < counts[1].max()
    assert counts[1].mean() > 1.5 * counts[0].mean()


@pytest.mark.parametrize(
    "wrong", [{"mosaic": 1.1}, {"scale": (0, 1)}, {"aspect": 1.0}, {"shift": -1}]
)
def test_wrong_settings_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BoxAugmentation(**wrong)


def test_evaluation_is_in_pixels_of_the_images(squares):
    settings = BatchSettings(height=32, width=64, batch_size=4)
    images = np.concatenate(list(evaluation_images(settings, box_source(squares))))
    assert images.shape == (7, 32, 64, 3) and images.dtype == np.uint8
    numbers = iter(range(7))

    def perfect(inputs):
        """Writes each box into the output of the point nearest to its middle."""
        outputs = np.full((len(inputs), 4 * 8, 4 + 2), -9, np.float32)
        for output, image in zip(outputs, inputs, strict=True):
            number = next(numbers)
            np.testing.assert_allclose(image, preprocess_input(images[number]), atol=1e-6)
            found = squares.images[number]
            boxes = found.boxes.copy()
            boxes[:, 0::2] *= 64 / WIDTH
            boxes[:, 1::2] *= 32 / HEIGHT
            for box, label in zip(boxes, found.classes, strict=True):
                column, row = ((box[:2] + box[2:]) / 2 // 8).astype(int)
                x, y = 8 * column + 4, 8 * row + 4
                reach = np.array([x - box[0], y - box[1], box[2] - x, box[3] - y])
                output[8 * row + column, :4] = np.log(np.maximum(reach, 0.1) / 16)
                output[8 * row + column, 4 + label] = 9
        return outputs

    points = make_points(32, 64, (8,))
    found = found_in(
        lambda batch: detect(perfect(preprocess_input(batch)), points),
        box_source(squares),
        settings,
    )
    scores = precision_of(found, squares)
    assert scores.ap > 0.98 and scores.ap50 == 1.0
    assert scores.small == scores.ap and scores.large is None
