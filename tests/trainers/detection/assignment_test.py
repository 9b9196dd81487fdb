import numpy as np
import tensorflow as tf

from common.detection import boxes as numpy_boxes
from trainers.detection.assignment import assign
from trainers.detection.box_ops import Truth, make_grid

SIZE, STRIDES, CLASSES = 64, (8, 16), 3


def truth(boxes, classes, ignored=None):
    """One image's boxes, with one of padding."""
    boxes = np.array([*boxes, [0, 0, 0, 0]], np.float32)[None]
    wanted = np.array([*(not flag for flag in ignored or [False] * len(classes)), False])
    ignored = np.array([*(ignored or [False] * len(classes)), False])
    classes = np.array([*classes, 0], np.int32)
    return Truth(*map(tf.constant, (boxes, classes[None], wanted[None], ignored[None])))


def by_hand(scores, boxes, wanted, labels, points):
    """The same in plain loops: (score, class, box) of each point that learns a box."""
    overlaps = numpy_boxes.iou(boxes, wanted)
    alignment = np.zeros_like(overlaps)
    for point, (center, stride) in enumerate(zip(*points, strict=True)):
        for n, (left, top, right, bottom) in enumerate(wanted):
            x, y = center
            inside = left < x < right and top < y < bottom
            middle = (left + right) / 2, (top + bottom) / 2
            near = max(abs(x - middle[0]), abs(y - middle[1])) < 0.75 * stride
            if inside or near:
                value = np.sqrt(scores[point, labels[n]]) * overlaps[point, n] ** 4
                alignment[point, n] = value + 1e-9 * near
    chosen = {}
    for n in range(len(wanted)):
        for point in np.argsort(-alignment[:, n], kind="stable")[:10]:
            if alignment[point, n] > 0:
                before = chosen.get(point)
                if before is None or overlaps[point, n] > overlaps[point, before]:
                    chosen[point] = n
    result = {}
    for point, n in chosen.items():
        mine = [other for other, box in chosen.items() if box == n]
        best = max(0.05, *(overlaps[other, n] for other in mine))
        largest = max(alignment[other, n] for other in mine)
        result[point] = (alignment[point, n] / largest * best, labels[n], wanted[n])
    return result


def random_predictions(seed, wanted):
    """Boxes around some of the wanted ones, by distance to them, and scores."""
    rng = np.random.default_rng(seed)
    points = numpy_boxes.make_points(SIZE, SIZE, STRIDES)
    middles = (wanted[:, :2] + wanted[:, 2:]) / 2
    nearest = np.abs(points.centers[:, None] - middles).max(-1).argmin(1)
    boxes = wanted[nearest] + rng.normal(0, 3, (len(nearest), 4))
    scores = rng.uniform(0.01, 0.9, (len(nearest), CLASSES))
    return points, scores.astype(np.float32), boxes.astype(np.float32)


def test_as_by_hand():
    # Two that overlap, a small one without a point inside, and one alone.
    wanted = np.array([[4, 6, 40, 38], [20, 10, 60, 44], [49, 49, 51, 51], [2, 44, 30, 62]], float)
    labels = [0, 2, 1, 0]
    for seed in range(5):
        points, scores, boxes = random_predictions(seed, wanted)
        expected = by_hand(scores, boxes, wanted, labels, points)
        found = assign(scores[None], boxes[None], truth(wanted, labels), make_grid(64, 64, STRIDES))
        weights = found.weights.numpy()[0]
        assert {label for _, label, _ in expected.values()} == {0, 1, 2}
        assert set(np.flatnonzero(weights)) == set(expected)
        for point, (score, label, box) in expected.items():
            one_hot = score * np.eye(CLASSES)[label]
            np.testing.assert_allclose(found.scores[0, point], one_hot, rtol=1e-4)
            np.testing.assert_allclose(found.boxes[0, point], box)
            np.testing.assert_allclose(weights[point], score, rtol=1e-4)


def test_a_box_that_nothing_overlaps_is_learnt_by_the_points_at_its_middle():
    grid = make_grid(64, 64, (8,))
    scores = np.full((1, 64, CLASSES), 0.5, np.float32)
    boxes = np.tile(np.float32([0, 0, 1, 1]), (1, 64, 1))
    found = assign(scores, boxes, truth([[22, 22, 26, 26]], [1]), grid)
    assert np.flatnonzero(found.weights).tolist() == [18, 19, 26, 27]
    np.testing.assert_allclose(found.scores[0, 18], [0, 0.05, 0], rtol=1e-5)
    boxes[0, [18, 19, 26, 27]] = [20, 20, 28, 28]
    found = assign(scores, boxes, truth([[22, 22, 26, 26]], [1]), grid)
    assert np.flatnonzero(found.weights).tolist() == [18, 19, 26, 27]
    np.testing.assert_allclose(found.scores[0, 18], [0, 16 / 64, 0], rtol=1e-5)


def test_points_inside_ignored_boxes_are_not_background():
    grid = make_grid(32, 32, (8,))
    scores = np.full((1, 16, CLASSES), 0.5, np.float32)
    boxes = np.tile(np.float32([0, 0, 15, 15]), (1, 16, 1))
    both = truth([[0, 0, 16, 16], [0, 0, 32, 16]], [0, 0], ignored=[False, True])
    found = assign(scores, boxes, both, grid)
    learnt = {0, 1, 4, 5}
    assert set(np.flatnonzero(found.weights)) == learnt
    counted = found.counted.numpy()[0]
    # The other points of the upper half are left out; those that learn a box are not.
    assert set(np.flatnonzero(counted == 0)) == set(range(8)) - learnt


def test_an_image_without_boxes_is_background():
    empty = truth([], [])
    grid = make_grid(32, 32, (8,))
    found = assign(
        np.full((1, 16, CLASSES), 0.5, np.float32), np.ones((1, 16, 4), np.float32), empty, grid
    )
    assert not found.scores.numpy().any() and found.counted.numpy().all()
