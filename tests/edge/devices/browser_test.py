from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.artifact import Artifact
from common.cli import UserError
from edge.browser.chromium import Chromium, find_chromium
from edge.browser.collection import Collection, FilePart, Pass
from edge.devices import DEVICES, Job
from edge.devices.browser import Results, _collect, make_plan, make_server, place
from edge.running.loose_files import LooseFiles
from edge.running.measurement import read_measurements

ROOT = Path(__file__).resolve().parents[3]
FLOAT, INT8 = "deployment_float32.tflite", "deployment_int8_ptq.tflite"
MACHINE = {
    "browser": "Chrome 150.0.1",
    "platform": "Android 15",
    "model": "Pixel 9",
    "user_agent": "Mozilla/5.0",
    "gpu": None,
    "cores": 8,
}
CONDITIONS = {"threads": 2, "warmup": 21, "warmup_stable": True, "timer_ms": 0.1}
CONDITIONS |= {"per_time": 1, "interruptions": 0, "isolated": True}


@pytest.fixture
def job(small_artifact):
    return Job(Artifact.open(small_artifact), (FLOAT, INT8), 1, 1, 3, 8)


@pytest.fixture
def results(job, small_artifact):
    return Results(job, small_artifact / "samples.npz")


def a_pass(**parts):
    return Pass("0" * 16, "wasm", MACHINE, CONDITIONS, parts, complete=True)


def part(outputs, times=(1.0, 3.0, 2.0)):
    return FilePart(list(times), 5.0, 6.0, outputs)


def host_outputs(job, file):
    """Returns a file's outputs as float32, as a page sends them."""
    inputs = job.artifact.preprocess(job.artifact.samples()[0])
    return job.artifact.load(file).predict(inputs)


def test_outputs_are_compared_with_this_machine_s(job, results):
    scale = job.artifact.files[INT8]["outputs"][0]["scale"]
    exact, integers = host_outputs(job, FLOAT), host_outputs(job, INT8)
    integers[0, 3] += 2 * scale
    found = {
        one.file: one
        for one in results.of(a_pass(**{FLOAT: part(exact + 0.25), INT8: part(integers)}))
    }
    values = found[FLOAT].values
    assert values["agreement"] == {"max_abs": pytest.approx(0.25, abs=1e-4), "images": 8}
    labels = job.artifact.samples()[1]
    assert values["accuracy"] == (exact.argmax(axis=-1) == labels).mean()
    assert values["latency_ms"]["median"] == 2.0 and values["latency_ms"]["runs"] == 3
    agreement = found[INT8].values["agreement"]
    assert (agreement["max_lsb"], agreement["exact"]) == (2, pytest.approx(79 / 80))
    assert (values["place"], values["delegate"]) == ("Chrome 150 on Android 15, Pixel 9", "wasm")
    assert (values["threads"], values["machine"]["cores"]) == (2, 8)


def test_only_rounds_of_all_files_count(job, results):
    parts = {FLOAT: part(None, (1.0, 2.0)), INT8: part(None, (1.0,))}
    found = list(results.of(a_pass(**parts)))
    assert [one.values["latency_ms"]["runs"] for one in found] == [1, 1]
    assert found[0].values["accuracy"] is None and found[0].values["agreement"] is None


def test_what_was_not_measured_is_an_error(results):
    refused = FilePart(error="not supported")
    first, second = results.of(a_pass(**{FLOAT: refused}))
    assert (first.values, first.error) == (None, "wasm: not supported")
    assert second.error == "wasm: it was stopped before a timed run"


def test_nan_is_compared_without_a_warning(job, results):
    outputs = np.full((8, 10), np.nan, np.float32)
    (_, found) = results.of(a_pass(**{FLOAT: FilePart(error="x"), INT8: part(outputs)}))
    assert found.values["agreement"]["max_lsb"] > 0


def test_an_unknown_browser_has_a_place():
    assert place(dict.fromkeys(MACHINE)) == "unknown browser on an unknown system"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"browser": "no-such-browser"}, "there is no no-such-browser; install it"),
        ({"browser_accelerators": ("cuda",)}, "'cuda'; there are wasm, webgpu, webnn"),
    ],
)
def test_mistakes_are_named_before_anything_runs(small_artifact, litert_js, options, message):
    job = Job(Artifact.open(small_artifact), (FLOAT,), 1, 1, 1, 8, options)
    with pytest.raises(UserError, match=message):
        DEVICES["browser"]().prepare(job)


def test_only_classifiers_of_images_have_a_page(job, small_artifact):
    manifest = job.artifact.manifest
    samples = {**manifest["samples"], "arrays": {"input_0": {"shape": [1], "dtype": "float32"}}}
    refused = [
        (LooseFiles([small_artifact / FLOAT]), "needs --artifact"),
        (Artifact(small_artifact, {**manifest, "task": "other"}, []), "is not of a classifier"),
        (Artifact(small_artifact, {**manifest, "samples": samples}, []), "are no pixels"),
    ]
    for artifact, message in refused:
        with pytest.raises(UserError, match=message):
            DEVICES["browser"]().prepare(replace(job, artifact=artifact))


def test_a_certificate_needs_its_key(small_artifact):
    job = Job(Artifact.open(small_artifact), (FLOAT,), 1, 1, 1, 8, {"certificate": "c.pem"})
    with pytest.raises(UserError, match="--certificate and --key belong together"):
        make_server(job, {}, None)


def test_without_samples_pages_get_noise(small_artifact, tmp_path, job):
    np.savez(tmp_path / "noise.npz", images=np.zeros((2, 32, 32, 1), np.uint8))
    plan = make_plan(job, tmp_path / "noise.npz")
    assert len(plan.images) == 2 and not plan.sends and not plan.starts


def test_a_page_gets_the_images_whose_outputs_it_can_send(job, results, monkeypatch):
    # Of two files, ten numbers for each image.
    monkeypatch.setattr("edge.devices.browser._MAX_OUTPUT_BYTES", 5 * 2 * 10 * 4 + 79)
    plan = make_plan(job, job.artifact.folder / "samples.npz")
    assert (len(plan.images), len(plan.labels)) == (5, 5)
    parts = {FLOAT: part(host_outputs(job, FLOAT)[:5]), INT8: part(None)}
    (found, _) = results.of(a_pass(**parts))
    assert found.values["agreement"]["images"] == found.values["accuracy_images"] == 5


class EndedChromium:
    def check(self):
        raise UserError("chromium ended")


def test_what_a_browser_here_measured_before_it_ended_counts(job, results):
    job = replace(job, options={"wait": 0, "timeout": 60})
    collection = Collection(None)
    collection.finished.put(a_pass(**{FLOAT: part(None), INT8: part(None)}))
    found = []
    with pytest.raises(UserError, match="chromium ended"):
        found.extend(_collect(job, collection, results, EndedChromium()))
    assert [one.values["latency_ms"]["median"] for one in found] == [2.0, 2.0]


@pytest.fixture
def chromium():
    try:
        return find_chromium()
    except UserError as error:
        pytest.skip(f"needs Chromium: {error}")


@pytest.mark.medium
def test_a_browser_here_is_measured(chromium, litert_js, small_artifact, run_cli, tmp_path):
    done = run_cli(
        "edge.benchmark",
        f"--artifact={small_artifact}",
        *("--device=browser", f"--files={INT8}", "--runs=3", "--warmup=1"),
        "--browser_accelerators=wasm,webnn",
    )
    (record,) = read_measurements(tmp_path / "measurements.jsonl")
    assert (record["device"], record["delegate"]) == ("browser", "wasm")
    assert record["agreement"]["images"] == 8 and record["agreement"]["max_lsb"] <= 1
    assert (record["latency_ms"]["runs"], record["page"]["complete"]) == (3, True)
    assert f"{INT8} on browser: webnn: this browser has no WebNN" in done.stderr
    assert record["place"] in done.stdout


@pytest.mark.medium
def test_a_phone_is_waited_for(new_page, litert_js, small_artifact, running, tmp_path):
    words = ("edge.benchmark", f"--artifact={small_artifact}", "--device=browser", "--wait=1")
    flags = (f"--files={FLOAT}", "--runs=3", "--warmup=1")
    with running(*words, *flags, folder=tmp_path) as process:
        assert process.stdout.readline() == "Open this on a phone:\n"
        page = new_page()
        page.goto(process.stdout.readline().strip())
        # The page of a benchmark proposes to send.
        page.wait_for_function("document.getElementById('sends').checked")
        page.click("#measure")
        assert process.wait(120) == 0
    (record,) = read_measurements(tmp_path / "measurements.jsonl")
    assert (record["device"], record["file"]) == ("browser", FLOAT)


@pytest.mark.medium
def test_a_browser_that_ends_is_an_error(tmp_path):
    program = tmp_path / "browser"
    program.write_text("#!/bin/sh\necho no display >&2\nexit 3\n")
    program.chmod(0o755)
    with Chromium("about:blank", str(program)) as chromium:
        chromium._process.wait(20)
        with pytest.raises(UserError, match=r"ended with exit code 3 \(no display\)"):
            chromium.check()
