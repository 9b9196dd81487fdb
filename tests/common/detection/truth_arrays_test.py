import numpy as np
import pytest

from common.detection.average_precision import Truth
from common.detection.truth_arrays import array_shapes, pack, unpack

NONE = np.zeros((0, 4)), np.zeros(0, int)
TRUTHS = [
    Truth(*NONE),
    Truth(np.array([[0, 1, 2.5, 3], [4, 4, 9, 9], [0, 0, 20, 20]]), np.array([1, 0, 1])),
    Truth(
        np.array([[0, 0, 5, 5], [1, 1, 6, 6]]),
        np.array([0, 0]),
        crowds=np.array([False, True]),
        ignored=np.array([True, False]),
    ),
]


def test_boxes_come_back():
    arrays = pack(TRUTHS)
    assert {name: array.shape for name, array in arrays.items()} == {
        **{"boxes": (3, 3, 4), "classes": (3, 3), "ignored": (3, 3)}
    }
    found = unpack(arrays, classes=2)
    for truth, back in zip(TRUTHS, found, strict=True):
        np.testing.assert_array_equal(back.boxes, truth.boxes)
        np.testing.assert_array_equal(back.classes, truth.classes)
        for name in ("crowds", "ignored"):
            flags = getattr(truth, name)
            expected = np.zeros(len(truth.classes), bool) if flags is None else flags
            np.testing.assert_array_equal(getattr(back, name), expected)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("classes", 2, "classes that do not exist"),
        ("classes", -2, "classes that do not exist"),
        ("boxes", np.nan, "corners that are no numbers"),
        ("ignored", 3, "of an unknown kind"),
    ],
)
def test_values_that_cannot_be_are_refused(name, value, message):
    arrays = pack(TRUTHS)
    arrays[name][1, 0] = value
    with pytest.raises(ValueError, match=message):
        unpack(arrays, classes=2)


def test_the_shapes_follow_the_number_of_boxes():
    assert array_shapes({"classes": {"shape": [7]}})["boxes"] == [7, 4]
    for hostile in ({}, {"classes": 3}, {"classes": {"shape": "x"}}, {"classes": {"shape": []}}):
        assert array_shapes(hostile)["boxes"] == [1, 4]
