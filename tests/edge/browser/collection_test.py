import base64
from queue import Empty

import numpy as np
import pytest

from edge.browser.collection import Collection, Ending, MessageError

FILES = ("deployment_float32.tflite", "deployment_int8_ptq.tflite")
RUN, OTHER = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture
def collection(make_plan):
    return Collection(make_plan(files=FILES, runs=5))


@pytest.fixture
def message(make_plan):
    """`message(times, **changes)` is what a page sends; `changes` are those of its pass."""
    hashes = {name: entry["sha256"] for name, entry in make_plan().artifact.files.items()}

    def make(times=(1.0, 2.0), run=RUN, outputs=True, machine=None, **changes):
        content = base64.b64encode(np.arange(80, dtype="<f4").tobytes()).decode()
        files = [
            {
                "file": name,
                "sha256": hashes[name],
                "milliseconds": list(times),
                "outputs": content if outputs else None,
                "initialization_ms": 3.0,
                "first_ms": 4.0,
                "error": None,
            }
            for name in FILES
        ]
        conditions = {"threads": 1, "warmup": 11, "warmup_stable": True, "timer_ms": 0.1}
        conditions |= {"per_time": 2, "interruptions": 0, "isolated": False, "complete": False}
        known = {"browser": "Chrome 150", "cores": 8, **(machine or {})}
        return {
            "run": run,
            "machine": known,
            "pass": {"accelerator": "wasm", "files": files, **conditions, **changes},
        }

    return make


def next_of(collection):
    return collection.finished.get_nowait()


def test_a_pass_grows_and_is_given_once(collection, message):
    collection.receive(message(()))
    collection.receive(message((1.0, 2.0), outputs=False))
    with pytest.raises(Empty):
        next_of(collection)
    collection.receive(message((1.0, 2.0, 3.0), outputs=False, complete=True))
    # A page that did not hear the answer sends it again.
    collection.receive(message((1.0, 2.0, 3.0), complete=True))
    collection.receive({"run": RUN, "finished": True, "error": None})
    found = next_of(collection)
    assert (found.complete, found.runs(), found.machine["cores"]) == (True, 3, 8)
    part = found.files[FILES[1]]
    assert part.milliseconds == [1.0, 2.0, 3.0] and part.outputs[7, 9] == 79
    assert next_of(collection) == Ending(RUN, None) and collection.finished.empty()


def test_a_tab_that_leaves_costs_nothing_that_was_measured(collection, message):
    collection.receive(message((1.0, 2.0), leaving=True))
    assert next_of(collection).runs() == 2
    # It was only hidden, comes back and goes on: the longer measurement counts, too.
    collection.receive(message((1.0, 2.0, 3.0, 4.0), complete=True))
    assert next_of(collection).runs() == 4


def test_a_page_too_large_for_its_last_message_says_that_it_leaves(collection, message):
    collection.receive(message((1.0, 2.0)))
    collection.receive(message((5.0,), run=OTHER))
    collection.receive({"run": RUN, "leaving": True})
    found = next_of(collection)
    assert (found.run, found.runs()) == (RUN, 2) and collection.finished.empty()


def test_a_tab_that_falls_silent_is_given_up(collection, message):
    collection.receive(message((1.0,)))
    collection.give_up(silence=60)
    assert collection.finished.empty()
    collection.give_up(silence=0)
    found = next_of(collection)
    assert (found.complete, found.runs()) == (False, 1)


def test_two_phones_at_once_stay_apart(collection, message):
    one, two = {"machine": {"model": "one"}}, {"machine": {"model": "two"}, "run": OTHER}
    collection.receive(message((1.0, 1.0), **one))
    collection.receive(message((9.0,), **two))
    collection.receive(message((1.0, 1.0, 1.0), outputs=False, complete=True, **one))
    collection.receive(message((9.0, 9.0), complete=True, **two))
    first, second = next_of(collection), next_of(collection)
    assert [found.machine["model"] for found in (first, second)] == ["one", "two"]
    assert first.files[FILES[0]].milliseconds == [1.0, 1.0, 1.0]
    assert second.files[FILES[0]].milliseconds == [9.0, 9.0]


def test_a_file_that_failed_does_not_hide_the_others(collection, message):
    sent = message((1.0, 2.0), complete=True)
    sent["pass"]["files"][0] |= {"error": "not\nsupported", "milliseconds": [], "outputs": None}
    collection.receive(sent)
    found = next_of(collection)
    assert found.runs() == 2 and found.files[FILES[0]].error == "notsupported"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.pop("run"), "run"),
        (lambda m: m.update(run="../../etc"), "run"),
        (lambda m: m.pop("pass"), "needs a pass"),
        (lambda m: m.pop("machine"), "machine"),
        (lambda m: m["machine"].update(browser=["x"]), "browser"),
        (lambda m: m["machine"].update(cores=-1), "cores"),
        (lambda m: m["machine"].update(cores=10**400), "cores"),
        (lambda m: m["pass"].update(timer_ms=10**400), "timer_ms"),
        (lambda m: m["pass"].update(accelerator="tpu"), "accelerator"),
        (lambda m: m["pass"].update(accelerator=["wasm"]), "accelerator"),
        (lambda m: m["pass"].update(threads=-1), "threads"),
        (lambda m: m["pass"].update(files={}), "files"),
        (lambda m: m["pass"]["files"][0].update(file="../secret"), "file"),
        (lambda m: m["pass"]["files"][0].update(file=["x"]), "file"),
        (lambda m: m["pass"]["files"][0].update(sha256="0" * 64), "sha256"),
        (lambda m: m["pass"]["files"][0].update(milliseconds=[float("nan")]), "milliseconds"),
        (lambda m: m["pass"]["files"][0].update(milliseconds=[10**400]), "milliseconds"),
        (lambda m: m["pass"]["files"][0].update(milliseconds=[1.0] * 6), "milliseconds"),
        (lambda m: m["pass"]["files"][0].update(milliseconds=[-1.0]), "milliseconds"),
        (lambda m: m["pass"]["files"][0].update(outputs="AAAA"), "outputs"),
        (lambda m: m["pass"]["files"][0].update(outputs=3), "outputs"),
    ],
)
def test_what_no_page_sends_is_refused(collection, message, change, said):
    sent = message(complete=True)
    change(sent)
    with pytest.raises(MessageError, match=said):
        collection.receive(sent)
    assert collection.finished.empty()


@pytest.mark.parametrize("sent", [None, [], "x", 3, {}])
def test_what_is_no_message_is_refused(collection, sent):
    with pytest.raises(MessageError):
        collection.receive(sent)
