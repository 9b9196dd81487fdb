import errno
import os

import pytest
import tensorflow as tf

from common import files
from trainers.data import verification


@pytest.fixture
def verify(tmp_path):
    """`verify()` decodes a picture, and keeps what it found in `tmp_path`."""
    path = tmp_path / "a.png"
    path.write_bytes(tf.io.encode_png(tf.zeros((4, 4, 3), tf.uint8)).numpy())
    cache = tmp_path / "unreadable-test.json"

    def run():
        read = lambda _: tf.io.read_file(str(path))  # noqa: E731
        return verification.verify([str(path)], [path.stat()], read, 3, cache)

    return run


def _fails(code):
    def write(path, value):
        raise OSError(code, os.strerror(code), str(path))

    return write


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_costs_only_the_record(verify, monkeypatch, code):
    monkeypatch.setattr(files, "write_json", _fails(code))
    assert verify().unreadable == ()


def test_a_full_disk_is_reported(verify, monkeypatch):
    monkeypatch.setattr(files, "write_json", _fails(errno.ENOSPC))
    with pytest.raises(OSError, match="unreadable-test"):
        verify()
