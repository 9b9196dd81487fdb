"""A detector's page in a real browser: the one that travels with the package."""

import base64
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from common.artifact import Artifact
from common.detection.nms import CANDIDATES
from common.included import included_artifact
from edge.devices import Job
from edge.devices.browser import Results, make_plan

pytestmark = pytest.mark.medium

PHOTOS = Path(__file__).resolve().parents[4] / "shared/data/bccd.tar.gz"
NAMES = [f"BloodImage_{number:05}.jpg" for number in (0, 12, 38)]
SECONDS = 120
FOUND = """() => Array.from(document.querySelectorAll('#answers .found'), (part) => Array.from(
  part.querySelectorAll('li'),
  ({dataset}) => [dataset.label, +dataset.score, JSON.parse(dataset.sides)]))"""
SEEN = """async ([data, input]) => {
  const pixels = await import(new URL('pixels.js', location.href));
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const seen = pixels.networkInput(await pixels.decode(new Blob([bytes]), 'exif'), input);
  return btoa(Array.from(seen, (byte) => String.fromCharCode(byte)).join(''));
}"""
DECODE = """async ([raw, decode]) => {
  const {findBoxes} = await import(new URL('detect.js', location.href));
  const found = findBoxes(Float32Array.from(raw), decode);
  return found.map(({box, score, label}) => [...box, score, label]);
}"""


SMALL_STORAGE = """(() => {
  const before = Storage.prototype.setItem;
  Storage.prototype.setItem = function (key, value) {
    if (value.length > 20000) throw new DOMException('full', 'QuotaExceededError');
    before.call(this, key, value);
  };
})()"""


@pytest.fixture(scope="module")
def detector():
    return Artifact.open(included_artifact("bccd"))


@pytest.fixture
def job(detector):
    options = {"browser_accelerators": ("wasm",), "cooldown": 0.0}
    return Job(detector, tuple(sorted(detector.files)), 1, 1, 3, 4, options)


@pytest.fixture
def open_detector(job, serve, open_page):
    """`open_detector()` opens the page; returns it, and what collects its results."""

    def start():
        plan = make_plan(job, job.artifact.folder / "samples.npz")
        changes = {name: getattr(plan, name) for name in ("images", "labels", "runs")}
        url, collection = serve(folder=job.artifact.folder, **changes)
        return open_page(url), collection

    return start


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three photos of blood cells, 640x480."""
    if not PHOTOS.is_file():
        pytest.skip("needs the shared photos of blood cells")
    folder = tmp_path_factory.mktemp("cells")
    with tarfile.open(PHOTOS) as archive:
        members = [archive.getmember(f"bccd/images/{name}") for name in NAMES]
        archive.extractall(folder, members, filter="data")
    return [folder / "bccd/images" / name for name in NAMES]


def show(page, photo):
    page.set_input_files("#photo", photo)
    page.wait_for_function(
        "name => document.getElementById('answers').dataset.image == name", arg=photo.name
    )


def test_boxes_are_predict_s(open_detector, photos, run_cli):
    flags = ("--model=bccd", "--format=json", "--output=found")
    expected = json.loads(run_cli("trainers.predict", *flags, *photos).stdout)["images"]
    page, _ = open_detector()
    for photo, one in zip(photos, expected, strict=True):
        show(page, photo)
        # The file for devices is the first.
        found, usual = page.evaluate(FOUND)
        assert [label for label, *_ in found] == [each["class"] for each in one["detections"]]
        assert len(found) > 5 and len(usual) > 5
        size = [one["width"], one["height"]] * 2
        boxes = [np.array(sides) * size for *_, sides in found]
        np.testing.assert_allclose(boxes, [each["box"] for each in one["detections"]], atol=0.02)
        scores = [each["score"] for each in one["detections"]]
        np.testing.assert_allclose([score for _, score, _ in found], scores, atol=1e-4)


def test_what_the_network_sees_is_the_whole_image(open_detector, photos):
    import tensorflow as tf

    from trainers.data.images.decoding import decode
    from trainers.detection.batches import as_on_devices

    page, _ = open_detector()
    for size, channels in ((256, 3), (96, 1), (512, 3)):
        options = {"size": size, "resize": None, "channels": channels}
        content = photos[0].read_bytes()
        seen = page.evaluate(SEEN, [base64.b64encode(content).decode(), options])
        seen = np.frombuffer(base64.b64decode(seen), np.uint8).reshape(size, size, channels)
        pixels = decode(tf.constant(content), channels)
        expected = as_on_devices(pixels, (size, size)).numpy()
        # TensorFlow and browsers make grey of colours differently.
        assert np.abs(seen.astype(int) - expected).max() <= (1 if channels == 1 else 0)


def test_any_output_is_decoded_as_in_python(open_detector, detector):
    page, _ = open_detector()
    decoding, rng = detector.decoding, np.random.default_rng(0)
    # Steps of an int8 file: many scores are equal.
    raw = np.round(rng.normal(-1, 1.5, (len(decoding.points.strides), 7)) * 8) / 8
    raw[:40, 0] = 20
    values = {**decoding.describe(), "candidates": CANDIDATES}
    found = np.array(page.evaluate(DECODE, [raw.ravel().tolist(), values]))
    (expected,) = decoding.find(raw[None])
    assert len(found) == len(expected.scores) == decoding.max_boxes
    np.testing.assert_array_equal(found[:, 5], expected.classes)
    np.testing.assert_allclose(found[:, 4], expected.scores, rtol=1e-6)
    np.testing.assert_allclose(found[:, :4], expected.boxes, rtol=1e-5, atol=1e-3)


def test_it_is_measured_with_the_host_s_outputs_and_its_ap(open_detector, job, detector):
    page, collection = open_detector()
    page.check("#sends")
    page.click("#measure")
    found = collection.finished.get(timeout=SECONDS)
    page.wait_for_function("document.getElementById('status').textContent == 'Measured'")
    images, truths = detector.sample_arrays(["images"])[0], detector.sample_truths()
    assert found.runs() == 3 and "AP" in page.inner_text("#results thead")
    rows = page.locator("#results tbody tr").all_inner_texts()
    results = Results(job, detector.folder / "samples.npz").of(found)
    for result, row in zip(results, rows, strict=True):
        raw = detector.load(result.file).predict(detector.preprocess(images))
        expected = detector.decoding.scores(raw, truths)
        agreement = result.values["agreement"]
        assert (agreement["max_lsb"], agreement["images"]) == (0, len(images))
        assert result.values["ap"] == pytest.approx(expected["ap"], abs=1e-6)
        assert result.values["accuracy_images"] == len(images)
        assert row.endswith(f"{expected['ap']:.1%}")
    page.click("#sample")
    page.wait_for_selector("#answers li", state="attached")
    raw = detector.load(detector.default_file()).predict(detector.preprocess(images[:1]))
    (expected,) = detector.decoding.find(raw)
    labels = [label for label, *_ in page.evaluate(FOUND)[0]]
    assert labels == [detector.labels[index] for index in expected.classes]


def test_times_outlive_a_tab_whose_storage_is_too_small_for_the_outputs(open_detector):
    page, collection = open_detector()
    page.evaluate(SMALL_STORAGE)
    page.click("#measure")
    page.wait_for_function("document.getElementById('status').textContent == 'Measured'")
    times = page.locator("#results tbody tr").all_inner_texts()
    page.reload()
    page.wait_for_function("document.getElementById('status').textContent == 'Ready'")
    assert page.locator("#results tbody tr").all_inner_texts() == times
    page.click("#send")
    found = collection.finished.get(timeout=SECONDS)
    assert found.runs() == 3 and all(part.outputs is None for part in found.files.values())


def test_fewer_boxes_by_keyboard_and_all_of_them_as_text(open_detector, photos):
    page, _ = open_detector()
    show(page, photos[0])
    before = page.evaluate(FOUND)
    assert page.inner_text("#least-shown") == "30%"
    page.click("#answers summary >> nth=0")
    page.focus("#least")
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    after = page.evaluate(FOUND)
    for boxes, fewer in zip(before, after, strict=True):
        assert fewer == [one for one in boxes if one[1] >= 0.6] and 0 < len(fewer) < len(boxes)
    # The list stays open, and says what the picture shows.
    assert page.locator("#answers li").first.is_visible()
    label = page.get_attribute("#answers canvas >> nth=0", "aria-label")
    assert label == f"{photos[0].name} with {len(after[0])} boxes"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
