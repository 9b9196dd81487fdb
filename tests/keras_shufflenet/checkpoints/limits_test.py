"""Small files that would fill the memory, and broken archives: refused by name."""

import json
import struct
import zipfile

import h5py
import numpy as np
import pytest

from keras_shufflenet.checkpoints.files import read_tensors
from keras_shufflenet.checkpoints.limits import check_archive, check_arrays
from keras_shufflenet.checkpoints.weights_argument import open_keras_file


def test_a_small_npz_of_two_gigabytes_is_refused(tmp_path):
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(
            member, {"shape": (2**29,), "fortran_order": False, "descr": "<f4"}
        )
        for _ in range(300):
            member.write(bytes(2**20))
    with pytest.raises(ValueError, match=r"bomb\.npz.*bytes that unpack to 314,"):
        read_tensors(path)


def test_an_hdf5_file_of_a_trillion_values_is_refused(tmp_path):
    path = tmp_path / "bomb.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", (10**12,), "f4", chunks=(2**20,))
    with pytest.raises(ValueError, match="bytes that unpack to 4,000,000,000,000"):
        open_keras_file(str(path))


def test_float8_in_safetensors_is_refused_by_name(tmp_path):
    pytest.importorskip("safetensors")
    header = json.dumps({"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "f8.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(ValueError, match=r"f8\.safetensors' is damaged or not .*get it again"):
        read_tensors(path)


@pytest.mark.parametrize("kind", ["encrypted", "lzma"])
def test_broken_archives_are_refused_by_name(tmp_path, kind):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA if kind == "lzma" else 0) as archive:
        archive.writestr("a.npy", bytes(200))
    content = bytearray(path.read_bytes())
    if kind == "lzma":
        content[39:55] = b"\xff" * 16
    else:
        content[6] |= 1
        content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz' is damaged or not a \.npz file"):
        read_tensors(path)


def test_usual_weights_are_within_the_limits(tmp_path):
    np.savez_compressed(tmp_path / "zeros.npz", a=np.zeros(10**6, np.float32))
    check_archive(tmp_path / "zeros.npz")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = np.zeros(1000)
        check_arrays(file, 8000)
