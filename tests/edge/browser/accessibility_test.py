"""No fault of accessibility on the page, found by axe-core in a real browser."""

import io
import tarfile

import pytest
from PIL import Image

from common.artifact import Artifact
from common.cli import UserError
from common.files import atomic_write
from common.included import included_artifact
from edge.browser import npm

pytestmark = pytest.mark.medium

AXE = npm.Package(
    "axe-core",
    "4.14.1",
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)
FAULTS = """async () => (await axe.run()).violations.flatMap(
  ({id, nodes}) => nodes.map(({html, failureSummary}) => `${id}: ${html}: ${failureSummary}`))"""
STATUS = "text => document.getElementById('status').textContent == text"


@pytest.fixture(scope="session")
def axe():
    """The source of axe-core, fetched if it is not in the cache."""
    path = npm.cache_folder() / f"axe-core-{AXE.version}.js"
    if not path.is_file():
        try:
            content = npm.fetch(AXE)
        except UserError as error:
            pytest.skip(f"needs axe-core: {error}")
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            source = archive.extractfile("package/axe.min.js").read()
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_bytes(source)
    return path.read_text(encoding="utf-8")


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.linear_gradient("L").save(path)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_fault_on_both_halves(serve, browser, axe, photo, scheme):
    page = opened(serve()[0], browser, axe, scheme)
    page.click("#measure")
    page.wait_for_function(STATUS, arg="Measured")
    page.set_input_files("#photo", photo)
    page.wait_for_function("document.querySelector('.answer')")
    page.wait_for_function(STATUS, arg="Ready")
    assert page.locator("#results tbody tr").count() == 4
    assert page.evaluate(FAULTS) == []
    # What cannot be classified is said in another colour.
    photo.write_bytes(b"no image")
    page.set_input_files("#photo", photo)
    page.wait_for_function("document.getElementById('status').classList.contains('bad')")
    assert page.evaluate(FAULTS) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_fault_of_a_detector_s_page(serve, browser, axe, scheme):
    folder = included_artifact("bccd")
    images = Artifact.open(folder).sample_arrays(["images"])[0]
    page = opened(serve(folder=folder, images=images, labels=None)[0], browser, axe, scheme)
    page.click("#sample")
    page.click("#answers summary >> nth=0")
    assert page.locator("#answers li").count() > 0
    assert page.evaluate(FAULTS) == []


def opened(url, browser, axe, scheme):
    """The page on a small phone, without a fault."""
    context = browser.new_context(viewport={"width": 360, "height": 700}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(url)
    page.wait_for_function(STATUS, arg="Ready")
    page.evaluate(axe)
    assert page.evaluate(FAULTS) == []
    return page
