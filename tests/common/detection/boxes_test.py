import numpy as np
import pytest

from common.detection.boxes import areas, decode, iou, make_points


def test_points_are_centres_of_cells_by_level_and_row():
    points = make_points(32, 64, (16, 32))
    assert points.centers[:4].tolist() == [[8, 8], [24, 8], [40, 8], [56, 8]]
    assert points.centers[8:].tolist() == [[16, 16], [48, 16]]
    assert points.strides.tolist() == [16] * 8 + [32] * 2
    with pytest.raises(ValueError, match="320x100 pixels and stride 8"):
        make_points(320, 100, (8,))


def test_a_box_reaches_two_strides_times_exp():
    points = make_points(16, 16, (8,))
    raw = np.zeros((1, 4, 6), np.float32)
    raw[0, 3] = [np.log(0.5), np.log(0.25), 0, np.log(2), 0, np.log(3)]
    boxes, scores = decode(raw, points)
    np.testing.assert_allclose(boxes[0, 3], [12 - 8, 12 - 4, 12 + 16, 12 + 32], rtol=1e-6)
    np.testing.assert_allclose(scores[0, 3], [0.5, 0.75], rtol=1e-6)


def test_extreme_outputs_stay_finite():
    points = make_points(8, 8, (8,))
    with np.errstate(over="raise", invalid="raise"):
        boxes, scores = decode(np.full((1, 5), -1e4, np.float32), points)
        assert scores == 0 and (boxes[:, 2:] > boxes[:, :2]).all()
        boxes, scores = decode(np.full((1, 5), 1e4, np.float32), points)
    assert scores == 1
    assert np.abs(boxes).max() == pytest.approx(4 + 16 * np.exp(4), rel=1e-5)


@pytest.mark.parametrize("shape", [(3, 5), (1, 4, 4), (5,)])
def test_an_output_of_another_detector_is_named(shape):
    with pytest.raises(ValueError, match="4 points, 4 \\+ classes"):
        decode(np.zeros(shape), make_points(16, 16, (8,)))


def test_iou_by_hand():
    left = np.array([[0.0, 0, 4, 4], [10, 10, 10, 20]])
    right = np.array([[0.0, 0, 4, 4], [2, 2, 6, 6], [4, 0, 8, 4], [10, 10, 10, 20]])
    found = iou(left, right)
    np.testing.assert_allclose(found[0], [1, 4 / 28, 0, 0])
    assert (found[1] == 0).all()  # no area
    crowd = iou(left[:1], right, np.array([False, True, False, False]))
    assert crowd[0, 1] == 4 / 16
    assert areas(np.array([[4, 4, 0, 0]])) == 0  # swapped corners
