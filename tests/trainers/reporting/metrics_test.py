import json

import pytest

from trainers.reporting.metrics import METRICS_FILE, append, keep_until, last_evaluation


def test_the_last_line_is_the_last_evaluation(tmp_path):
    records = [{"step": 3, "top1": 0.5}, {"step": 6, "top1": 0.75}]
    (tmp_path / METRICS_FILE).write_text("".join(json.dumps(one) + "\n" for one in records))
    assert last_evaluation(tmp_path) == {"step": 6, "top1": 0.75}


@pytest.mark.parametrize(("text", "error"), [("", IndexError), ('{"step": 3}\n{"st', ValueError)])
def test_a_file_without_it_is_an_error(tmp_path, text, error):
    (tmp_path / METRICS_FILE).write_text(text)
    with pytest.raises(error):
        last_evaluation(tmp_path)


def test_without_a_file_it_is_named(tmp_path):
    with pytest.raises(OSError, match=METRICS_FILE):
        last_evaluation(tmp_path)


def test_damaged_lines_do_not_stop_a_resume(tmp_path):
    path = tmp_path / METRICS_FILE
    path.write_bytes(b'{"step": 2}\n\xff\n[]\n{"st": 1}\n{"step": "x"}\n' + b"[" * 9999 + b"\n")
    assert keep_until(5, tmp_path) == 2
    assert path.read_text() == '{"step": 2}\n'


def test_evaluations_after_the_checkpoint_are_removed(tmp_path):
    path = tmp_path / METRICS_FILE
    path.write_text('{"step": 2}\n{"step": 4}\n{"step": 6}\n{"st')
    assert keep_until(5, tmp_path) == 4
    assert path.read_text() == '{"step": 2}\n{"step": 4}\n'
    assert keep_until(1, tmp_path) == -1
    append(tmp_path, {"step": 3})
    assert path.read_text() == '{"step": 3}\n'
