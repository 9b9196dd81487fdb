"""What the tests of the page share: plans and servers."""

import pytest

from common.artifact import Artifact
from edge.browser.collection import Collection
from edge.browser.plan import Plan
from edge.browser.server import Server
from edge.browser.site import make_site


@pytest.fixture
def make_plan(small_artifact):
    """`make_plan(**changes)` plans to measure all files of the small artifact, quickly."""

    def make(folder=small_artifact, **changes):
        artifact = Artifact.open(folder)
        images, labels = artifact.samples()
        values = {
            "files": tuple(sorted(artifact.files)),
            "images": images,
            "labels": labels.tolist(),
            "accelerators": ("wasm",),
            "threads": 1,
            "warmup": 1,
            "runs": 3,
        }
        return Plan(artifact=artifact, **{**values, **changes})

    return make


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
