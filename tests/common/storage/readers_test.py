"""Damaged and hostile text and JSON: one error that names the file, and no endless wait."""

import json
import os

import pytest

from common.cli import UserError
from common.files import append_text, check_appendable, write_text
from common.storage.readers import (
    DamagedError,
    parse_json,
    read_bytes,
    read_json,
    read_lines,
    read_records,
    read_text,
)

HOSTILE = {
    "{": "Expecting property name",
    "[" * 100_000: "nested too deeply",
    "[" * 65 + "]" * 65: "nested too deeply",
    '{"a": 18446744073709551616}': "an integer of more than 64 bits",
    "1" * 5000: "integer",
    '"\\ud800"': "text that is not Unicode",
    '{"\\udfff": 1}': "text that is not Unicode",
}


@pytest.mark.parametrize(("text", "reason"), HOSTILE.items(), ids=range(len(HOSTILE)))
def test_hostile_json_is_one_error(tmp_path, text, reason):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason):
        parse_json(text)
    with pytest.raises(
        DamagedError, match=rf"config\.json cannot be read \(.*{reason}.*; repair it"
    ):
        read_json(path, "repair it")


def test_usual_json_is_read():
    value = {"a": [1, 2.5, None, True, "ü"], "b": {"c": -(2**63)}}
    assert parse_json(json.dumps(value)) == value
    assert parse_json("[" * 64 + "]" * 64)


def test_too_many_values(monkeypatch):
    monkeypatch.setattr("common.storage.readers._MAX_VALUES", 10)
    with pytest.raises(ValueError, match="more than 10 values"):
        parse_json(json.dumps([[0] * 5] * 2))


def test_text_that_is_not_utf8_names_the_byte(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("chat\nchâteau\n".encode("latin-1"))
    with pytest.raises(DamagedError, match=r"labels\.txt cannot be read \(.*UTF-8 text, byte 7"):
        read_lines(path, "save it as UTF-8")


def test_lines_end_with_newlines_alone(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("a\u2028b\r\nc\x0bd\n".encode())
    assert read_lines(path, "") == ["a\u2028b", "c\x0bd"]
    assert read_text(path, "") == "a\u2028b\nc\x0bd\n"


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("\ufeffcat\n", encoding="utf-8")
    assert read_lines(path, "") == ["cat"]


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "config.json"
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(DamagedError, match="too large: 1,099,511,627,776 bytes"):
        read_json(path, "")


@pytest.mark.timeout(20)
def test_nothing_waits_for_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(DamagedError, match="it is not a plain file"):
        read_bytes(path, "")
    for write in (lambda: append_text(path, "x"), lambda: write_text(path, "x")):
        with pytest.raises(UserError, match="is a pipe or a device"):
            write()


def test_a_bad_record_costs_itself_alone(tmp_path):
    path = tmp_path / "measurements.jsonl"
    path.write_bytes(b'{"a": 1}\n[]\n\xff\n\n{"a": "\\ud800"}\n{"a": 2}\n{"a')
    records = read_records(path, "")
    assert records.found == [(1, {"a": 1}), (6, {"a": 2})]
    assert records.bad == [2, 3, 5, 7] and records.incomplete


def test_appended_files_do_not_follow_links(tmp_path):
    target, link = tmp_path / "authorized_keys", tmp_path / "measurements.jsonl"
    link.symlink_to(target)
    for append in (check_appendable, lambda path: append_text(path, "x")):
        with pytest.raises(UserError, match=r"measurements\.jsonl is a symbolic link"):
            append(link)
    assert not target.exists()


def test_appended_lines_start_on_a_line_of_their_own(tmp_path):
    path = tmp_path / "measurements.jsonl"
    path.write_text('{"a": 1}\n{"a')
    append_text(path, '{"a": 2}\n')
    append_text(path, '{"a": 3}\n')
    assert path.read_text() == '{"a": 1}\n{"a\n{"a": 2}\n{"a": 3}\n'
