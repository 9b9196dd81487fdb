import numpy as np
import pytest

from common.detection.boxes import iou, make_points
from common.detection.nms import detect, suppress

BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 5], [20, 0, 30, 10]], np.float32)


def scores(*columns):
    return np.array(columns, np.float32).T


def test_the_best_of_boxes_on_top_of_each_other_stays():
    found = suppress(BOXES, scores([0.8, 0.9, 0.5, 0.3]))
    # IoU with the best: 0.9, 5/9 (below 0.6), 0.
    assert found.boxes.tolist() == BOXES[[1, 2, 3]].tolist()
    np.testing.assert_allclose(found.scores, [0.9, 0.5, 0.3], rtol=1e-6)
    assert len(suppress(BOXES, scores([0.8, 0.9, 0.5, 0.3]), overlap=0.5).scores) == 2


def test_a_removed_box_removes_no_other():
    # 2 overlaps 1 by more than half, 1 overlaps 0 so; 2 and 0 not.
    chain = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [4, 0, 14, 10]], np.float32)
    found = suppress(chain, scores([0.9, 0.8, 0.7]), overlap=0.5)
    assert found.boxes[:, 0].tolist() == [0, 4]


def test_classes_do_not_remove_each_other():
    found = suppress(BOXES[:2], scores([0.8, 0.1], [0.2, 0.9]))
    assert found.classes.tolist() == [1, 0]
    assert len(suppress(BOXES[:2], scores([0.8, 0.7], [0.2, 0.9]), score=0.0).scores) == 2


def test_limits():
    many = np.array([[10 * n, 0, 10 * n + 5, 5] for n in range(50)], np.float32)
    rising = scores(np.linspace(0.1, 0.9, 50))
    assert suppress(many, rising, most=3).boxes[:, 0].tolist() == [490, 480, 470]
    assert len(suppress(many, rising, candidates=7).scores) == 7
    assert suppress(many, rising, score=0.89).scores.tolist() == [np.float32(0.9)]
    nothing = suppress(many, rising, score=0.95)
    assert nothing.boxes.shape == (0, 4) and nothing.scores.shape == (0,)


@pytest.mark.parametrize("seed", range(3))
def test_what_stays_overlaps_little_and_what_goes_overlaps_a_better_one(seed):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (80, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (80, 2))], 1).astype(np.float32)
    value = rng.uniform(0, 1, (80, 1)).astype(np.float32)
    found = suppress(boxes, value, most=100)
    kept = iou(found.boxes, found.boxes)
    assert (kept[~np.eye(len(kept), dtype=bool)] <= 0.6).all()
    gone = [n for n in range(80) if value[n, 0] not in found.scores]
    assert gone
    for n in gone:
        better = found.scores > value[n, 0]
        assert (iou(boxes[n : n + 1], found.boxes[better]) > 0.6).any()


def test_detect_decodes_first():
    raw = np.full((2, 4, 6), -8, np.float32)
    raw[0, 3] = [0, 0, 0, 0, -8, 3]
    found = detect(raw, make_points(16, 16, (8,)), score=0.3)
    assert found[0].boxes.tolist() == [[-4, -4, 28, 28]]
    assert found[0].classes.tolist() == [1]
    assert len(found[1].scores) == 0
