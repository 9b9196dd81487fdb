"""The page in a real browser."""

import base64
import json
import shutil
import tarfile
from pathlib import Path
from queue import Empty

import numpy as np
import pytest

from edge.browser.site import Page

pytestmark = pytest.mark.medium

PHOTOS = Path(__file__).resolve().parents[4] / "shared/data/raccoon416.tar.gz"
FLOAT, INT8 = "deployment_float32.tflite", "deployment_int8_ptq.tflite"
SECONDS = 120
READY = "document.getElementById('status').textContent == 'Ready'"
CROP = """async ([data, input]) => {
  const pixels = await import(new URL('pixels.js', location.href));
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const crop = pixels.networkInput(await pixels.decode(new Blob([bytes]), 'exif'), input);
  return btoa(Array.from(crop, (byte) => String.fromCharCode(byte)).join(''));
}"""

LOSE_NETWORK = """(() => {
  const before = fetch;
  window.fetch = (url, options) =>
    options?.method === 'POST' ? Promise.reject(new Error('gone')) : before(url, options);
})()"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """50 photos of raccoons, of many sizes."""
    if not PHOTOS.is_file():
        pytest.skip("needs the shared photos")
    folder = tmp_path_factory.mktemp("photos")
    with tarfile.open(PHOTOS) as archive:
        archive.extractall(folder, filter="data")
    return sorted(folder.rglob("*.jpg"))[:50]


def status(page, text):
    page.wait_for_function(
        "text => document.getElementById('status').textContent.startsWith(text)", arg=text
    )


def test_files_are_measured_with_the_host_s_outputs(serve, open_page, make_plan):
    url, collection = serve()
    page = open_page(url)
    page.check("#sends")
    page.click("#measure")
    found, ending = (collection.finished.get(timeout=SECONDS) for _ in range(2))
    status(page, "Measured")
    plan = make_plan()
    assert (found.complete, found.runs(), ending.error) == (True, plan.runs, None)
    inputs = plan.artifact.preprocess(plan.images)
    rows = page.locator("#results tbody tr").all_inner_texts()
    for name, row in zip(plan.files, rows, strict=True):
        expected = plan.artifact.load(name).predict(inputs)
        np.testing.assert_allclose(found.files[name].outputs, expected, atol=1e-5)
        right = (expected.argmax(axis=-1) == plan.labels).mean()
        assert row.startswith(name.removesuffix(".tflite")) and row.endswith(f"{right:.1%}")
        assert min(found.files[name].milliseconds) > 0
    assert found.conditions["isolated"] and found.conditions["warmup"] >= 21
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert "The computer has it, too" in page.inner_text("#kept")
    page.click("#sample")
    page.wait_for_selector(".answer")
    best = plan.artifact.load(plan.artifact.default_file()).predict(inputs[:1]).argmax()
    label = page.locator(".answer span").first.inner_text()
    assert label == plan.artifact.labels[best]


def test_threads_where_the_browser_has_them(serve, open_page):
    url, collection = serve(threads=2, files=(FLOAT,), sends=True)
    open_page(url).click("#measure")
    found = collection.finished.get(timeout=SECONDS)
    assert (found.conditions["threads"], found.runs()) == (2, 3)


def test_unreadable_photos_are_named(serve, open_page, tmp_path):
    path = tmp_path / "no.jpg"
    path.write_bytes(b"no image")
    page = open_page(serve()[0])
    page.set_input_files("#photo", path)
    status(page, "no.jpg cannot be classified")


def test_what_the_network_sees_is_what_predict_sees(serve, open_page, photos):
    from trainers.prediction.images import read_images

    page = open_page(serve()[0])
    for size, resize, channels in ((224, 256, 3), (32, 36, 3), (32, 32, 1), (480, 500, 3)):
        batches = read_images(photos[:8], resize, size, channels)
        seen = [image for batch in batches for _, image in batch]
        for path, expected in zip(photos, seen, strict=False):
            data = base64.b64encode(path.read_bytes()).decode()
            options = {"size": size, "resize": resize, "channels": channels}
            crop = np.frombuffer(base64.b64decode(page.evaluate(CROP, [data, options])), np.uint8)
            difference = np.abs(crop.reshape(expected.shape).astype(int) - expected)
            assert difference.max() <= 2 and difference.mean() < 0.02, path.name


@pytest.fixture
def float_artifact(artifact_dir, tmp_path):
    """The artifact with its float32 file alone: a step of an int8 logit may be three points."""
    folder = shutil.copytree(artifact_dir, tmp_path / "float")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {FLOAT: manifest["files"][FLOAT]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_photos_get_predict_s_classes(serve, open_page, photos, float_artifact):
    from trainers.prediction.classifier import open_classifier
    from trainers.prediction.images import read_images

    classifier = open_classifier(float_artifact, None)
    sizes = classifier.resize_size, classifier.input_size, classifier.channels
    images = [image for batch in read_images(photos, *sizes) for _, image in batch]
    page = open_page(serve(folder=float_artifact)[0])
    for path, shares in zip(photos, classifier.probabilities(np.stack(images)), strict=True):
        page.set_input_files("#photo", path)
        page.wait_for_function(
            "name => document.getElementById('answers').dataset.image == name", arg=path.name
        )
        best = page.locator(".answer").first
        label = best.locator("span").first.inner_text()
        share = float(best.get_attribute("data-share"))
        assert label == classifier.labels[shares.argmax()], path.name
        assert share == pytest.approx(shares.max(), abs=0.02), path.name


def test_a_damaged_file_does_not_stop_the_others(serve, open_page):
    def damage(site):
        (url,) = [
            one["url"]
            for one in json.loads(site["config.json"].read())["files"]
            if one["name"] == INT8
        ]
        site[url] = Page(site[url].read()[:-1000], site[url].kind)

    url, collection = serve(damage, files=(FLOAT, INT8), sends=True)
    page = open_page(url)
    page.click("#measure")
    found = collection.finished.get(timeout=SECONDS)
    assert "is damaged: its hash differs" in found.files[INT8].error
    assert (found.files[FLOAT].error, found.runs()) == (None, 3)
    status(page, "Measured")
    assert "is damaged" in page.inner_text("#results")


def test_an_accelerator_that_is_missing_is_said(serve, open_page):
    url, collection = serve(accelerators=("webnn", "wasm"), files=(FLOAT,), sends=True)
    open_page(url).click("#measure")
    found, missing = (collection.finished.get(timeout=SECONDS) for _ in range(2))
    assert missing.files[FLOAT].error == "this browser has no WebNN"
    assert (found.accelerator, found.runs()) == ("wasm", 3)


@pytest.mark.parametrize("cooldown", [0.0, 0.2])
def test_a_closed_tab_costs_nothing_that_was_measured(serve, open_page, cooldown):
    # A time is at least 20 steps of the clock: so many runs take minutes on any machine.
    url, collection = serve(files=(FLOAT,), runs=1_000_000, cooldown=cooldown, sends=True)
    page = open_page(url)
    page.click("#measure")
    # By a timer: the page computes on, and has few moments to draw frames.
    page.wait_for_function("document.querySelector('#results tbody small')", polling=100)
    assert page.inner_text("#status").startswith("wasm: run ")
    with pytest.raises(Empty):
        collection.finished.get_nowait()
    page.goto("about:blank")
    found = collection.finished.get(timeout=SECONDS)
    assert 0 < found.runs() < 1_000_000 and not found.complete
    assert found.files[FLOAT].outputs is not None


def test_a_lost_network_costs_nothing_that_was_measured(serve, open_page):
    url, collection = serve(files=(FLOAT,), sends=True)
    page = open_page(url)
    page.evaluate(LOSE_NETWORK)
    page.click("#measure")
    status(page, "Measured")
    assert "not sent yet (gone)" in page.inner_text("#kept") and collection.finished.empty()
    # It is there after the page was opened again.
    page.reload()
    page.wait_for_function(READY)
    page.click("#send")
    page.wait_for_function("document.getElementById('send').disabled")
    assert collection.finished.get(timeout=SECONDS).runs() == 3


def test_two_phones_at_once(serve, open_page):
    url, collection = serve(files=(FLOAT, INT8), sends=True)
    for page in [open_page(url), open_page(url)]:
        page.click("#measure")
    found = [collection.finished.get(timeout=SECONDS) for _ in range(4)]
    passes = [one for one in found if hasattr(one, "files")]
    assert len({one.run for one in passes}) == 2 and [one.runs() for one in passes] == [3, 3]


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (
            "Mozilla/5.0 (Linux; Android 14; SM-A536B) AppleWebKit/537.36 (KHTML, like Gecko) "
            "SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
            ("Samsung Internet 25.0", "Android 14", "SM-A536B"),
        ),
        (
            "Mozilla/5.0 (Linux; Android 12; Pixel 6 Build/SD1A.210817.023; wv) AppleWebKit/537.36 "
            "(KHTML, like Gecko) Version/4.0 Chrome/94.0.4606.71 Mobile Safari/537.36",
            ("Chrome 94.0.4606.71", "Android 12", "Pixel 6"),
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/150.0.0.0 Mobile Safari/537.36",
            ("Chrome 150.0.0.0", "Android 10", None),
        ),
        (
            "Mozilla/5.0 (Android 14; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0",
            ("Firefox 140.0", "Android 14", None),
        ),
    ],
)
def test_a_phone_s_name_over_plain_http(serve, browser, agent, expected):
    page = browser.new_context(user_agent=agent).new_page()
    # What browsers show to pages by https alone.
    hide = "Object.defineProperty(Navigator.prototype, 'userAgentData', {value: undefined})"
    page.add_init_script(hide)
    page.goto(serve()[0])
    page.wait_for_function(READY)
    found = page.evaluate("import(new URL('litert.js', location.href)).then((m) => m.describe())")
    assert (found["browser"], found["platform"], found["model"]) == expected
