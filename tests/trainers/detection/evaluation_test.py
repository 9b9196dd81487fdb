import numpy as np

from common.detection.nms import MOST, Detections
from trainers.detection.evaluation import gathered


def made(rng, count):
    boxes, scores = rng.uniform(0, 999, (count, 4)), rng.uniform(0, 1, count)
    return Detections(
        boxes.astype(np.float32), scores.astype(np.float32), rng.integers(0, 80, count)
    )


def test_workers_detections_are_put_together_exactly():
    rng = np.random.default_rng(0)
    images = [made(rng, count) for count in (3, 0, MOST, 1)]
    mine, theirs = ({n: images[n] for n in numbers} for numbers in ((0, 3), (1, 2)))
    sent = []
    gathered(theirs, len(images), lambda values: sent.append(values) or values)
    found = gathered(mine, len(images), lambda values: values + sent[0])
    for one, wanted in zip(found, images, strict=True):
        for values, expected in zip(one, wanted, strict=True):
            assert values.dtype == expected.dtype
            np.testing.assert_array_equal(values, expected)
