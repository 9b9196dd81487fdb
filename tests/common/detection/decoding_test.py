import dataclasses

import numpy as np
import pytest

from common.detection.average_precision import Truth
from common.detection.decoding import Decoding, wrong_field

DECODING = Decoding(32, 64, (8, 16), classes=2)
IMAGE, OUTPUT = (1, 32, 64, 3), (1, 32 + 8, 6)


def raw_of(boxes, labels):
    """A raw output that finds these boxes, each at the point of stride 8 nearest its middle."""
    raw = np.full((1, 40, 6), -9.0, np.float32)
    centers = DECODING.points.centers[:32]
    for box, label in zip(boxes, labels, strict=True):
        point = np.argmin(np.abs(centers - np.mean([box[:2], box[2:]], axis=0)).sum(1))
        x, y = centers[point]
        reach = np.array([x - box[0], y - box[1], box[2] - x, box[3] - y])
        raw[0, point, :4] = np.log(reach / 16)
        raw[0, point, 4 + label] = 5
    return raw


def test_boxes_come_back_with_their_average_precision():
    boxes, labels = [[1, 2, 15, 14], [20, 8, 60, 30]], [1, 0]
    raw = raw_of(boxes, labels)
    (found,) = DECODING.find(raw)
    assert sorted(found.classes.tolist()) == [0, 1]
    np.testing.assert_allclose(found.boxes[np.argsort(-found.classes)], boxes, atol=1e-4)
    truth = Truth(np.array(boxes), np.array(labels))
    assert DECODING.scores(raw, [truth]) == {
        **{"accuracy": None, "accuracy_images": 1},
        **{"ap": pytest.approx(1), "ap50": pytest.approx(1)},
    }
    # Another class at the second box: of two classes, one is not found at all.
    wrong = raw_of(boxes, [1, 1])
    assert DECODING.scores(wrong, [truth])["ap"] == pytest.approx(0.5)
    # `find` shows what is sure, `scores` counts everything.
    unsure = dataclasses.replace(DECODING, min_score=0.999)
    assert not len(unsure.find(raw)[0].scores)
    assert unsure.scores(raw, [truth])["ap"] == pytest.approx(1)


def test_the_manifests_field_says_all():
    fields = DECODING.describe()
    assert Decoding.read(fields) == DECODING
    assert wrong_field(fields, IMAGE, OUTPUT) is None
    assert fields["distance"] == "2 * stride * exp(raw)" and fields["raw_limit"] == 4.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("height", True),
        ("height", 64),
        ("width", 10**6),
        ("strides", []),
        ("strides", [8, 7]),
        ("strides", [8, 16, 32, 64]),
        ("strides", [8, "16"]),
        ("classes", 0),
        ("classes", 3),
        ("distance", "stride * raw"),
        ("raw_limit", None),
        ("min_score", 1.5),
        ("max_overlap", float("nan")),
        ("max_boxes", 10**9),
    ],
)
def test_a_field_that_cannot_be_used_is_named(name, value):
    fields = {**DECODING.describe(), name: value}
    assert wrong_field(fields, IMAGE, OUTPUT) == name
    del fields[name]
    assert wrong_field(fields, IMAGE, OUTPUT) == name
