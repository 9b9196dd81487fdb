from edge.provenance import describe, describe_run, warn_if_busy


def test_a_busy_machine_is_warned_of(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (0.9, 5.0, 5.0))
    assert describe_run("command", {})["warning"] is None
    monkeypatch.setattr("os.getloadavg", lambda: (1.1, 0.0, 0.0))
    assert "1.1 processes were running on 2 cores" in describe_run("command", {})["warning"]


def test_a_run_in_words():
    run = {
        "date": "2026-11-20",
        "command": "python -m x",
        "machine": {"cpu": "EPYC", "cores": 2, "litert": "ai-edge-litert 2.3.0"},
        "versions": {"keras": "3.99"},
        "warning": None,
    }
    where = "EPYC, 2 cores, ai-edge-litert 2.3.0, keras 3.99; 2026-11-20."
    assert describe(run) == f"{where}\n\n`python -m x`"
    busy = {**run, "versions": {}, "warning": "3 processes were running"}
    assert describe(busy).splitlines() == [
        "EPYC, 2 cores, ai-edge-litert 2.3.0; 2026-11-20.",
        "",
        "**Not a quiet machine**: 3 processes were running.",
        "",
        "`python -m x`",
    ]


def test_the_warning_is_printed(capsys):
    warn_if_busy({"warning": None}, "times")
    assert capsys.readouterr().err == ""
    warn_if_busy({"warning": "3 processes were running"}, "rates")
    assert capsys.readouterr().err == (
        "warning: 3 processes were running; the rates will be noisy\n"
    )
