"""Hostile .npz files: refused before they fill the memory."""

import io
import zipfile

import numpy as np
import pytest

from common.storage.arrays import read_arrays
from common.storage.readers import DamagedError

EXPECTED = {"images": ((2, 4), np.uint8)}


def header(shape, dtype="|u1"):
    file = io.BytesIO()
    fields = {"shape": shape, "fortran_order": False, "descr": dtype}
    np.lib.format.write_array_header_1_0(file, fields)
    return file.getvalue()


def archive(path, content, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("images.npy", content)
    return bytearray(path.read_bytes())


def test_arrays_are_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", images=np.arange(8, dtype=np.uint8).reshape(2, 4))
    (images,) = read_arrays(tmp_path / "a.npz", EXPECTED, "")
    assert images.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_small_file_of_two_gigabytes_is_not_unpacked(tmp_path):
    path = tmp_path / "a.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("images.npy", "w", force_zip64=True) as member,
    ):
        member.write(header((2**31,)))
        for _ in range(64):
            member.write(bytes(2**20))
    with pytest.raises(DamagedError, match=r"images is uint8 of shape \(2147483648,\), not uint8"):
        read_arrays(path, EXPECTED, "convert again")


@pytest.mark.parametrize(
    "kind", ["encrypted", "broken LZMA", "unknown method", "no header", "no first byte"]
)
def test_broken_archives_are_one_error(tmp_path, kind):
    path = tmp_path / "a.npz"
    good = header((2, 4)) + bytes(8)
    lzma = kind == "broken LZMA"
    content = archive(
        path,
        b"\x93NUMPY\x01\x00v\x00{{{" if kind == "no header" else good,
        zipfile.ZIP_LZMA if lzma else zipfile.ZIP_DEFLATED,
    )
    directory = content.index(b"PK\x01\x02")
    if kind == "encrypted":
        content[6] |= 1
        content[directory + 8] |= 1
    elif kind == "unknown method":
        content[8] = content[directory + 10] = 99
    elif kind == "no first byte":
        del content[0]
    elif lzma:
        start = 30 + len("images.npy")
        content[start + 4 : start + 20] = b"\xff" * 16
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"a\.npz cannot be read \(.+\); convert again"):
        read_arrays(path, EXPECTED, "convert again")
