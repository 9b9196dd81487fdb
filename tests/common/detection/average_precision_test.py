import contextlib
import io

import numpy as np
import pytest

from common.detection.average_precision import Truth, average_precision
from common.detection.nms import Detections


def found(boxes, scores, classes=None):
    classes = np.zeros(len(scores), int) if classes is None else np.array(classes)
    return Detections(np.array(boxes, float).reshape(-1, 4), np.array(scores), classes)


def truth(boxes, classes=None, **flags):
    classes = np.zeros(len(boxes), int) if classes is None else np.array(classes)
    flags = {name: np.array(values) for name, values in flags.items()}
    return Truth(np.array(boxes, float).reshape(-1, 4), classes, **flags)


BOX, FAR = [0, 0, 40, 40], [100, 100, 140, 140]
NONE = found([], [])


def test_by_hand_one_of_two_boxes_is_found_after_a_wrong_one():
    wrong = [200, 200, 240, 240]
    result = average_precision([truth([BOX, FAR])], [found([wrong, BOX], [0.9, 0.8])], 1)
    # Precision 1/2 up to a recall of 1/2: 51 of 101 recalls.
    assert result.ap == pytest.approx(0.5 * 51 / 101)
    assert result.medium == result.ap and result.small is None and result.large is None


def test_by_hand_the_thresholds_that_a_loose_box_reaches():
    # IoU 40*32 / 40*40 = 0.8: right at 0.5, 0.55, … 0.8, seven of ten.
    result = average_precision([truth([BOX])], [found([[0, 0, 40, 32]], [0.9])], 1)
    assert (result.ap50, result.ap75) == (1.0, 1.0)
    assert result.ap == pytest.approx(0.7)


def test_a_second_detection_of_one_box_is_wrong_unless_the_box_is_a_crowd():
    twice = found([BOX, BOX, FAR], [0.9, 0.8, 0.7])
    both = [BOX, FAR]
    assert average_precision([truth(both)], [twice], 1).ap < 0.9
    crowd = truth(both, crowds=[True, False])
    assert average_precision([crowd], [twice], 1).ap == 1.0


def test_a_difficult_box_is_neither_wanted_nor_wrong():
    difficult = truth([BOX, FAR], ignored=[True, False])
    assert average_precision([difficult], [found([FAR], [0.5])], 1).ap == 1.0
    assert average_precision([difficult], [found([BOX, FAR], [0.9, 0.5])], 1).ap == 1.0


def test_classes_and_images_are_apart():
    truths = [truth([BOX], [0]), truth([BOX], [1])]
    swapped = [found([BOX], [0.9], [1]), found([BOX], [0.9], [0])]
    assert average_precision(truths, swapped, 3).ap == 0.0
    right = [found([BOX], [0.9], [0]), NONE]
    result = average_precision(truths, right, 3)
    assert result.per_class == (1.0, 0.0, None) == result.per_class50
    assert result.ap == 0.5


def test_without_boxes_or_detections():
    assert average_precision([truth([])], [found([BOX], [0.9])], 1).ap is None
    assert average_precision([truth([BOX])], [NONE], 1).ap == 0.0
    with pytest.raises(ValueError, match="Received: 1 and 0"):
        average_precision([truth([BOX])], [], 1)


def random_images(seed, images=12, classes=3):
    """Truths of all sizes, some of them crowds; detections near them, some twice, some wrong."""
    rng = np.random.default_rng(seed)
    for _ in range(images):
        count = rng.integers(0, 9)
        corner, size = rng.uniform(0, 300, (count, 2)), rng.uniform(4, 160, (count, 2))
        boxes = np.concatenate([corner, corner + size], 1).round(1)
        labels = rng.integers(0, classes, count)
        near = np.repeat(boxes, 3, axis=0) + rng.normal(0, 6, (3 * count, 4))
        near = np.concatenate([near, boxes, rng.uniform(0, 1, (3, 4)) * [100, 100, 300, 300]])
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        theirs = np.concatenate([np.repeat(labels, 3), labels, rng.integers(0, classes, 3)])
        # Rounded, so that some scores are equal.
        scores = rng.uniform(0, 1, len(near)).round(2)
        crowds = rng.random(count) < 0.15
        yield truth(boxes, labels, crowds=crowds), found(near, scores, theirs)


def by_pycocotools(truths, detections, classes):
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    from pycocotools.cocoeval import COCOeval

    data = {
        "images": [{"id": image} for image in range(len(truths))],
        "categories": [{"id": label} for label in range(classes)],
        "annotations": [],
    }
    results = []
    for image, (one, its) in enumerate(zip(truths, detections, strict=True)):
        for box, label, crowd in zip(one.boxes, one.classes, one.crowds, strict=True):
            w, h = box[2:] - box[:2]
            entry = {"bbox": [*box[:2], w, h], "area": w * h, "iscrowd": int(crowd)}
            entry |= {"id": len(data["annotations"]) + 1, "image_id": image}
            data["annotations"].append({**entry, "category_id": int(label)})
        for box, score, label in zip(*its, strict=True):
            entry = {"image_id": image, "category_id": int(label), "score": float(score)}
            results.append(
                {**entry, "bbox": [*map(float, box[:2]), *map(float, box[2:] - box[:2])]}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        known = coco.COCO()
        known.dataset = data
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("seed", range(4))
def test_as_pycocotools(seed):
    truths, detections = zip(*random_images(seed), strict=True)
    theirs = by_pycocotools(truths, detections, 3)
    mine = average_precision(truths, detections, 3)
    numbers = [mine.ap, mine.ap50, mine.ap75, mine.small, mine.medium, mine.large]
    assert numbers == pytest.approx(list(theirs.stats[:6]), abs=1e-6)
    assert 0.1 < mine.ap < 0.9
    # [thresholds, recalls, classes, areas, numbers of detections]
    precision = theirs.eval["precision"][:, :, :, 0, 2]
    assert list(mine.per_class) == pytest.approx(list(precision.mean((0, 1))), abs=1e-6)
    assert list(mine.per_class50) == pytest.approx(list(precision[0].mean(0)), abs=1e-6)
