import errno

from common.cli import explain_os_error


def test_a_full_disk_is_told_with_place_and_remedy():
    told = explain_os_error(OSError(errno.ENOSPC, "No space left on device", "/data/model.keras"))
    assert told == (
        "No space left on device '/data/model.keras'; free some space or name another folder"
    )


def test_an_error_without_a_file_is_told_too():
    assert explain_os_error(OSError(errno.EIO, "I/O error")).startswith("I/O error; check")
