"""What the tests of the page share: plans and servers."""

import pytest

from common.artifact import Artifact
from edge.browser.collection import Collection
from edge.browser.plan import Plan
from edge.browser.server import Server
from edge.browser.site import make_site

SECONDS = 120
READY = "document.getElementById('status').textContent == 'Ready'"


@pytest.fixture
def make_plan(small_artifact):
    """`make_plan(**changes)` plans to measure all files of the small artifact, quickly."""

    def make(folder=small_artifact, **changes):
        artifact = Artifact.open(folder)
        values = {
            "files": tuple(sorted(artifact.files)),
            **_samples(artifact),
            "accelerators": ("wasm",),
            "threads": 1,
            "warmup": 1,
            "runs": 3,
        }
        return Plan(artifact=artifact, **{**values, **changes})

    return make


def _samples(artifact):
    known = artifact.samples()
    return {} if known is None else {"images": known[0], "labels": known[1].tolist()}


@pytest.fixture
def serve(litert_js, make_plan):
    """`serve(**changes)` serves the page of a plan; returns its address and its collection."""
    servers = []

    def start(change_site=lambda site: None, **changes):
        plan = make_plan(**changes)
        site, collection = make_site(plan, has_server=True), Collection(plan)
        change_site(site)
        server = Server(site, collection).__enter__()
        servers.append(server)
        return server.url("localhost"), collection

    yield start
    for server in servers:
        server.__exit__()


@pytest.fixture
def open_page(browser):
    """`open_page(url)` opens the page on a small phone, and fails on errors of its console."""
    complaints = []

    def start(url):
        page = browser.new_context(viewport={"width": 360, "height": 700}).new_page()
        page.set_default_timeout(1e3 * SECONDS)
        page.on("console", lambda one: one.type == "error" and complaints.append(one.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda one: one.url.startswith(url) or complaints.append(one.url))
        page.goto(url)
        page.wait_for_function(READY)
        return page

    start.complaints = complaints
    yield start
    assert complaints == []
