import numpy as np
import pytest

from common.detection.average_precision import average_precision
from common.detection.nms import Detections
from trainers.detection.data.cleaning import ImageBoxes
from trainers.detection.results.outcomes import curve, judge, surest_mistakes

NAMES = ("cat", "dog")


def image(boxes, classes, ignored=None):
    none, count = np.zeros(len(boxes), bool), len(boxes)
    difficult = none if ignored is None else np.array(ignored)
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    classes = np.array(classes, np.int32)
    return ImageBoxes("a.jpg", 100, 100, boxes, classes, none, difficult, np.ones(count))


def found(*each):
    boxes, scores, classes = zip(*each, strict=True)
    return Detections(np.float32(boxes), np.float32(scores), np.int64(classes))


def test_each_detection_has_its_reason():
    truth = image(
        [[0, 0, 20, 20], [40, 0, 60, 20], [70, 70, 90, 90]], [0, 1, 0], [False, False, True]
    )
    outcomes = judge(
        3,
        found(
            ([0, 0, 20, 20], 0.9, 0),
            ([0, 0, 20, 19], 0.8, 0),
            ([40, 0, 60, 20], 0.7, 0),
            ([40, 10, 60, 30], 0.6, 1),
            ([70, 70, 90, 90], 0.5, 0),
            ([0, 60, 20, 80], 0.4, 1),
        ),
        truth,
        NAMES,
    )
    assert [one.kind for one in outcomes] == [
        "right",
        "found twice",
        "is dog",
        "badly placed",
        "ignored",
        "nothing there",
    ]
    assert [(one.image, one.index) for one in outcomes] == [(3, index) for index in range(6)]
    assert [one.index for one in surest_mistakes(outcomes, 2)] == [1, 2]


def test_precision_and_recall_are_those_of_average_precision():
    rng = np.random.default_rng(0)
    truths, detections, outcomes = [], [], []
    for number in range(20):
        corners = rng.uniform(0, 80, (4, 2))
        boxes = np.float32(np.concatenate([corners, corners + 15], axis=1))
        truth = image(boxes, rng.integers(2, size=4), rng.random(4) < 0.1)
        moved = np.float32(boxes + rng.normal(0, 1.5, boxes.shape))
        one = Detections(moved, rng.random(4, np.float32), truth.classes.astype(int))
        order = np.argsort(-one.scores)
        one = Detections(*(values[order] for values in one))
        truths.append(truth.truth)
        detections.append(one)
        outcomes += judge(number, one, truth, NAMES)
    expected = average_precision(truths, detections, 2)
    for label in range(2):
        wanted = sum(((t.classes == label) & ~t.ignored).sum() for t in truths)
        one = curve(outcomes, int(wanted), label)
        best = np.maximum.accumulate(one.precisions[::-1])[::-1]
        places = one.recalls.searchsorted(np.linspace(0, 1, 101))
        area = np.mean([best[place] if place < len(best) else 0 for place in places])
        assert area == pytest.approx(expected.per_class50[label])
    assert 0.3 < expected.ap50 < 1


def test_the_best_score_is_where_f1_is_largest():
    truth = image([[0, 0, 20, 20], [40, 0, 60, 20]], [0, 0])
    outcomes = judge(
        0,
        found(
            ([0, 0, 20, 20], 0.9, 0),
            ([40, 0, 60, 20], 0.6, 0),
            ([0, 50, 20, 70], 0.3, 0),
        ),
        truth,
        NAMES,
    )
    one = curve(outcomes, 2)
    assert one.scores[one.best()] == pytest.approx(0.6)
    assert curve([], 2).best() is None
