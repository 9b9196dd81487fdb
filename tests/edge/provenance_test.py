from edge.provenance import describe_run


def test_a_busy_machine_is_warned_of(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (0.9, 5.0, 5.0))
    assert describe_run("command", {})["warning"] is None
    monkeypatch.setattr("os.getloadavg", lambda: (1.1, 0.0, 0.0))
    assert "1.1 processes were running on 2 cores" in describe_run("command", {})["warning"]
