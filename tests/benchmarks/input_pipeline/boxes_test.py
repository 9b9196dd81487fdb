import numpy as np
import pytest

from benchmarks.input_pipeline import boxes, images
from benchmarks.input_pipeline.settings import PIPELINES, SETTINGS, Setting, serves

SETTING = Setting("photos", 64, "boxes", min_area=0.36, batch_size=4, boxes=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(images.SETS, "photos", ((100, 75), 12, 95))
        yield images.image_folder("photos", tmp_path_factory.mktemp("cache"))


def test_both_streams_have_images_with_boxes_inside(folder):
    ours = next(iter(boxes.our_batches(SETTING, folder)))
    plain = next(iter(boxes.plain_batches(SETTING, folder, antialias=False)))
    for pixels, found in ((ours[0], ours[1].boxes), plain[:2]):
        assert pixels.shape == (4, 64, 64, 3) and found.shape == (4, 5, 4)
        assert found.numpy().min() >= 0 and found.numpy().max() <= 64
        sides = found.numpy()[..., 2:] - found.numpy()[..., :2]
        assert (sides > 3).all(-1).sum() >= 8
        assert 0.2 < pixels.numpy().std() < 3


def test_boxes_are_mirrored_and_cut_with_their_window():
    given = np.float32([[0.5, 0.5, 0.75, 1.0], [0.0, 0.0, 0.25, 0.5]])
    window = np.float32([0.5, 0.25, 1.0, 0.75])
    found = boxes._in_window(given, window)
    np.testing.assert_allclose(found, [[0.5, 0, 1, 1], [0, 0, 0, 0]])


def test_pytorch_s_pipelines_have_no_boxes():
    served = [name for name in PIPELINES if serves(name, SETTINGS["320 px with boxes"])]
    assert served == ["ours", "tf.data", "tf.data antialiased"]
