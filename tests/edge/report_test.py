import json

import pytest

pytest.importorskip("plotly", reason="needs keras_shufflenet[report]")

MODULE = "edge.report"
HOSTILE = "</script><img src=x onerror=alert(1)>"


DEPLOYMENT, CANONICAL = "deployment_int8_ptq.tflite", "canonical_int8_ptq.tflite"
KINDS = [{"kind": "data movement", "us": 40.0, "share": 1.0, "operators": 3}]
PROFILE = {"method_description": "by hand", "whole_ms": {"median": 0.05}, "kinds": KINDS}


@pytest.fixture
def measurements(record, tmp_path):
    path = tmp_path / "measurements.jsonl"
    latency = {"median": 10.25, "p10": 9.225, "p90": 12.3}
    records = [
        record(DEPLOYMENT, accuracy=0.857, latency_ms=latency, energy_mj=0.625),
        record(CANONICAL, 9.5, 0.75),
        record(
            HOSTILE,
            100.0,
            None,
            accuracy_images=0,
            device="micro-sim",
            simulation=True,
            model=HOSTILE,
        ),
        {"file": "canonical.tflite", "device": "host", "operator_profile": PROFILE},
    ]
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


def test_a_page_is_written(run_cli, measurements, tmp_path):
    with measurements.open("a") as file:
        file.write('{"torn": ')
    done = run_cli(MODULE, measurements.name, "--title=Phones", "--output=page.html")
    assert done.stdout.splitlines() == [
        "note: measurements.jsonl:5 is not a complete record, skipped",
        "page.html: measurements 3, profiles 1",
    ]
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    titles = ("Latency against accuracy", "Canonical against deployment graph", "Devices")
    for title in ("Phones", *titles, "Where the time goes", "All measurements"):
        assert f">{title}</h" in text
    assert '<p class="warning">measurements.jsonl:5 is not a complete record, skipped</p>' in text
    # All accuracies are of 300 images, so the section does not mention it.
    assert '<td data-number="300.0"' in text and "The accuracies are of" not in text
    # 9.5 ms against 10.25 ms: here the deployment graph is the slower one.
    assert '<td data-number="0.926829' in text and "The artifact artifact does not exist" in text
    # A number that someone measured and added.
    assert '<td data-number="0.625"' in text
    assert HOSTILE not in text


def test_accuracies_of_unequal_numbers_of_images_are_said(run_cli, record, tmp_path):
    records = [record(DEPLOYMENT), record(DEPLOYMENT, device="micro-sim", accuracy_images=32)]
    path = tmp_path / "measurements.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    run_cli(MODULE, path.name, "--output=page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "The accuracies are of 32 to 300 images" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name files of measurements, such as measurements.jsonl"),
        (["missing.jsonl"], "missing.jsonl does not exist; make it with shufflenet benchmark"),
        (["/dev/null"], "/dev/null cannot be read (it is not a plain file); name another file"),
        (["empty.jsonl"], "there are no measurements in empty.jsonl"),
        (["empty.jsonl", "--output=empty.jsonl"], "would replace the measurements"),
        (["measurements.jsonl", "--output=no/page.html"], "check the path"),
    ],
)
def test_mistakes_are_one_line(run_cli, measurements, tmp_path, arguments, message):
    (tmp_path / "empty.jsonl").write_text("")
    done = run_cli(MODULE, *arguments, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ") and message in done.stderr


def test_the_page_in_a_browser(browser, run_cli, measurements, tmp_path):
    run_cli(MODULE, measurements.name, "--output=page.html")
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    _check_sorting_and_filter(page)
    _check_plots_and_details(page)
    page.set_viewport_size({"width": 375, "height": 700})
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    widest = "Math.max(...[...document.querySelectorAll('.main-svg')].map(e => e.clientWidth))"
    assert 250 <= page.evaluate(widest) <= 375
    assert complaints == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)


def _check_sorting_and_filter(page):
    box = page.locator("section", has=page.get_by_role("heading", name="All measurements"))
    rows = box.locator("tbody tr:visible")
    names = lambda: [text.split("\t")[0] for text in rows.all_inner_texts()]  # noqa: E731
    assert names() == [DEPLOYMENT, CANONICAL, HOSTILE]
    header = box.get_by_role("button", name="median ms")
    header.click()
    # As numbers: as text 10 and 100 would come before 9.5.
    assert names() == [CANONICAL, DEPLOYMENT, HOSTILE]
    header.click()
    assert names() == [HOSTILE, DEPLOYMENT, CANONICAL]
    assert box.locator("th[aria-sort=descending]").inner_text().startswith("median ms")
    for _ in range(2):
        box.get_by_role("button", name="accuracy").click()
        assert names()[-1] == HOSTILE  # Without a value, last in both directions.
    box.get_by_role("searchbox").fill("INT8 host")
    assert sorted(names()) == [CANONICAL, DEPLOYMENT]
    assert box.locator("output").inner_text() == "2 of 3"
    cells = rows.first.locator("td").all_inner_texts()
    assert cells[5:10] == ["85.7", "300", "10.250", "9.225", "12.300"]
    box.get_by_role("searchbox").fill("")


def _check_plots_and_details(page):
    assert page.locator(".js-plotly-plot").count() == 4  # Accuracy, two devices, operators.
    detail = page.locator("#measurement-0")
    assert detail.get_attribute("open") is None
    page.locator("a[href='#measurement-0']").last.click()
    assert detail.get_attribute("open") is not None
    assert '"deployment_int8_ptq.tflite"' in detail.inner_text()
    # The device's two bars, fastest on top: the upper one is the canonical file.
    bars = page.locator(".js-plotly-plot").nth(1).locator(".bars .point path")
    bars.last.scroll_into_view_if_needed()
    box = bars.last.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.locator("#measurement-1").get_attribute("open") is not None
