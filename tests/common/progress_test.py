import io
import re
import sys

from common import progress


def updates(monkeypatch, terminal, seconds_per_step):
    screen, clock = io.StringIO(), [0.0]
    screen.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with progress.Progress("training", total=1000, start=100) as shown:
        for step in range(1, 101):
            clock[0] += seconds_per_step
            shown.update(100 + 9 * step, loss=1.23456)
    return screen.getvalue()


def test_a_log_gets_a_line_now_and_then(monkeypatch, capsys):
    updates(monkeypatch, terminal=False, seconds_per_step=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    pattern = r"training: 235/1000 images \(24%\), 9 images/s, 01:25 left, loss 1.235"
    assert re.fullmatch(pattern, lines[0])


def test_a_log_is_not_flooded_by_fast_steps(monkeypatch, capsys):
    assert updates(monkeypatch, terminal=False, seconds_per_step=0.01) == ""
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    bar = updates(monkeypatch, terminal=True, seconds_per_step=1)
    assert "training" in bar and "1.00k/1.00k" in bar and "loss=1.235" in bar
    assert capsys.readouterr().out == ""
