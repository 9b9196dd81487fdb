import functools
import http.server
import json
import signal
import threading
from pathlib import Path

import pytest

from edge.running.measurement import read_measurements

ROOT = Path(__file__).resolve().parents[2]
MODULE = "edge.serve"
FLOAT = "deployment_float32.tflite"
FAST = (f"--files={FLOAT}", "--runs=3", "--warmup=1")
READY = "document.getElementById('status').textContent == 'Ready'"
MEASURED = "document.getElementById('status').textContent == 'Measured'"


@pytest.mark.medium
def test_a_measurement_that_is_sent_is_appended(
    new_page, litert_js, small_artifact, running, tmp_path
):
    flags = (f"--artifact={small_artifact}", "--port=0", *FAST)
    with running(MODULE, *flags, folder=tmp_path) as process:
        page = new_page()
        page.goto(process.stdout.readline().strip())
        page.wait_for_function(READY)
        assert not page.is_checked("#sends")
        page.click("#measure")
        page.wait_for_function(MEASURED)
        assert "not sent yet" in page.inner_text("#kept")
        assert not (tmp_path / "measurements.jsonl").read_text()
        page.click("#send")
        page.wait_for_function("document.getElementById('send').disabled")
        # What was sent is kept, though the outputs are not compared yet.
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "Ctrl-C ends it.\n"
        assert process.stdout.readline().startswith(f"measurements.jsonl: {FLOAT}, browser ")
        assert (process.wait(120), process.stderr.read()) == (130, "interrupted\n")
    (record,) = read_measurements(tmp_path / "measurements.jsonl")
    assert (record["device"], record["delegate"], record["file"]) == ("browser", "wasm", FLOAT)
    assert record["command"].startswith("shufflenet serve")


@pytest.mark.medium
def test_an_exported_page_needs_no_server_of_ours(
    new_page, litert_js, small_artifact, run_cli, tmp_path
):
    run_cli(MODULE, f"--artifact={small_artifact}", "--export=site", "--runs=3", "--warmup=1")
    assert json.loads((tmp_path / "site/config.json").read_text())["has_server"] is False
    again = run_cli(MODULE, f"--artifact={small_artifact}", "--export=site", check=False)
    assert again.stderr == "error: site exists and is not an empty folder; name a new one\n"
    handler = functools.partial(_Quiet, directory=tmp_path / "site")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = new_page()
        page.goto(f"http://localhost:{server.server_address[1]}/")
        page.wait_for_function(READY)
        assert "Nothing is sent anywhere" in page.inner_text("#privacy")
        assert not page.is_visible("#sends") and not page.is_visible("#send")
        page.click("#measure")
        page.wait_for_function(MEASURED)
        assert page.locator("#results tbody tr").count() == 4
        server.shutdown()


@pytest.mark.medium
def test_without_an_artifact_the_example_is_served(run_cli, litert_js, tmp_path):
    done = run_cli(MODULE, "--export=site")
    assert "an example that travels with the package" in done.stderr
    config = json.loads((tmp_path / "site/config.json").read_text())
    assert len(config["labels"]) == 10 and len(config["shown"]) == 2
    assert config["decode"] is None and not config["samples"]["real"]


@pytest.mark.medium
def test_the_detector_is_served_by_its_name(run_cli, litert_js, tmp_path):
    run_cli(MODULE, "--artifact=bccd", "--export=site")
    config = json.loads((tmp_path / "site/config.json").read_text())
    assert config["labels"] == ["RBC", "WBC", "Platelets"] and len(config["shown"]) == 2
    assert config["decode"]["strides"] == [8, 16, 32] and config["samples"]["real"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *unused):
        pass


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--artifact=nowhere"], "artifact nowhere is not a folder"),
        (["--artifact={small}", "--files=no.tflite"], "has no file 'no.tflite'"),
        (["--artifact={small}", "--runs=0"], "--runs must be at least 1"),
        (["--artifact={small}", "--certificate=c.pem"], "belong together"),
    ],
)
def test_mistakes_are_one_line(run_cli, litert_js, small_artifact, flags, message):
    flags = [flag.format(small=small_artifact) for flag in flags]
    done = run_cli(MODULE, *flags, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_missing_runtime_is_named(run_cli, small_artifact, tmp_path):
    done = run_cli(
        MODULE,
        f"--artifact={small_artifact}",
        check=False,
        env={"XDG_CACHE_HOME": str(tmp_path / "cache")},
    )
    assert done.returncode == 1 and "fetch it once with make browser" in done.stderr
