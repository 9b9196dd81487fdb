import importlib
import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from keras_shufflenet.checkpoints.files import read_tensors, write_tensors

SUFFIXES = [".npz", ".safetensors", ".pth"]
NEEDED = {".npz": "numpy", ".safetensors": "safetensors", ".pth": "torch"}


@pytest.fixture(params=SUFFIXES)
def suffix(request):
    pytest.importorskip(NEEDED[request.param])
    return request.param


def tensors():
    generator = np.random.default_rng(0)
    return {
        "conv1.0.weight": generator.normal(size=(4, 3, 3, 3)).astype("float32"),
        "conv1.1.num_batches_tracked": np.zeros((), "int64"),
        "fc.weight": generator.normal(size=(5, 2)).astype("float16"),
        "a.bias": np.arange(3, dtype="float64"),
    }


def assert_equal(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_what_was_written_is_read(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    write_tensors(path, tensors())
    found = read_tensors(str(path))
    if suffix == ".safetensors":
        # That format sorts by type; the order matters to nothing but messages.
        found = {name: found[name] for name in tensors()}
    assert_equal(found, tensors())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_views_are_written_as_they_look(suffix, tmp_path):
    array = np.arange(24.0).reshape(2, 3, 4)
    write_tensors(tmp_path / f"a{suffix}", {"a": array.transpose(2, 0, 1)[:, ::-1]})

    found = read_tensors(tmp_path / f"a{suffix}")["a"]
    np.testing.assert_array_equal(found, array.transpose(2, 0, 1)[:, ::-1])


def test_the_prefix_of_data_parallel_is_taken_off(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    write_tensors(path, {f"module.{name}": array for name, array in tensors().items()})
    assert set(read_tensors(path)) == set(tensors())
    # Not where it is part of a name.
    write_tensors(path, {"module.a": np.zeros(1), "b": np.zeros(1)})
    assert set(read_tensors(path)) == {"module.a", "b"}


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.95])
def test_truncated_files_are_refused(suffix, kept, tmp_path):
    path = tmp_path / f"cut{suffix}"
    write_tensors(path, {"a": np.random.default_rng(0).normal(size=1000)})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])

    with pytest.raises(ValueError, match=rf"checkpoint .*cut\{suffix}' is damaged") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no tensors\n" * 100, bytes(range(256)) * 10])
def test_what_is_no_checkpoint_is_refused(suffix, content, tmp_path):
    path = tmp_path / f"other{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"checkpoint .*other\{suffix}' is damaged"):
        read_tensors(path)


def test_a_flipped_bit_of_an_npz_file_is_noticed(tmp_path):
    path = tmp_path / "a.npz"
    write_tensors(path, {"a": np.zeros(1000)})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        read_tensors(path)


class Payload:
    """What a file does when it is unpickled: a folder appears."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_an_npz_file_cannot_run_code(tmp_path):
    path, victim = tmp_path / "evil.npz", tmp_path / "victim"
    np.savez(path, a=np.array([Payload(str(victim))], dtype=object))
    with pytest.raises(ValueError, match=r"evil\.npz"):
        read_tensors(path)
    # A bare pickle that is called .npz.
    path.write_bytes(pickle.dumps(Payload(str(victim))))
    with pytest.raises(ValueError, match=r"evil\.npz"):
        read_tensors(path)
    assert not victim.exists()


def test_a_pth_file_cannot_run_code(tmp_path):
    torch = pytest.importorskip("torch")
    path, victim = tmp_path / "evil.pth", tmp_path / "victim"
    torch.save({"a": torch.zeros(1), "b": Payload(str(victim))}, path)
    with pytest.raises(ValueError, match=r"evil\.pth' is damaged, or holds more than .*mkdir"):
        read_tensors(path)
    torch.save({"a": torch.zeros(1), "b": Payload(str(victim))}, path, pickle_protocol=2)
    path.write_bytes(pickle.dumps(Payload(str(victim))))
    with pytest.raises(ValueError, match=r"evil\.pth"):
        read_tensors(path)
    assert not victim.exists()


def test_wrappers_of_training_scripts_are_taken_off(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pth"
    inside = {f"module.{name}": torch.from_numpy(array) for name, array in tensors().items()}
    for wrapper in ("state_dict", "model"):
        torch.save({"epoch": 3, wrapper: inside, "optimizer": {"lr": 0.1}}, path)
        assert_equal(read_tensors(path), tensors())


def test_what_is_no_tensor_is_named(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(1), "epoch": 3}, path)
    with pytest.raises(ValueError, match="holds 'epoch', a int, not a tensor"):
        read_tensors(path)
    torch.save([torch.zeros(1)], path)
    with pytest.raises(ValueError, match="holds a list, not tensors by name"):
        read_tensors(path)
    torch.save({}, path)
    with pytest.raises(ValueError, match="holds no tensors"):
        read_tensors(path)


def test_bfloat16_becomes_float32(tmp_path):
    torch = pytest.importorskip("torch")
    values = torch.tensor([1.5, -3.0, 0.0]).bfloat16()
    torch.save({"a": values}, tmp_path / "a.pth")
    found = read_tensors(tmp_path / "a.pth")["a"]
    assert found.dtype == np.float32 and found.tolist() == [1.5, -3.0, 0.0]


@pytest.mark.parametrize(
    ("suffix", "requirement"), [(".pth", r"torch>=2\.6"), (".safetensors", "safetensors")]
)
def test_the_missing_package_is_named(suffix, requirement, tmp_path, monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"something")
    with pytest.raises(ImportError, match=rf"a\{suffix}'.*pip install '{requirement}'"):
        read_tensors(path)
    with pytest.raises(ImportError, match=rf"pip install '{requirement}'"):
        write_tensors(path, {"a": np.zeros(1)})
    assert path.read_bytes() == b"something"


def test_a_torch_that_files_can_make_run_code_is_refused(tmp_path, monkeypatch):
    old = type("torch", (), {"__version__": "2.5.1+cpu"})
    monkeypatch.setattr(importlib, "import_module", lambda name: old)
    path = tmp_path / "a.pth"
    path.write_bytes(b"something")
    with pytest.raises(ImportError, match=r"torch 2\.5\.1\+cpu .*'torch>=2\.6'"):
        read_tensors(path)


def test_paths_are_checked(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        read_tensors(tmp_path / "none.npz")
    for name in ("a.onnx", "npz"):
        with pytest.raises(ValueError, match=r"must end with one of \.pth, .*\.npz"):
            read_tensors(tmp_path / name)
    with pytest.raises(ValueError, match="must end with one of"):
        write_tensors(tmp_path / "a.bin", {})


def test_an_empty_file_of_tensors_is_refused(tmp_path):
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    (tmp_path / "a.npz").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match=r"a\.npz"):
        read_tensors(tmp_path / "a.npz")


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "a.npz"
    write_tensors(path, {"a": np.zeros(3)})
    with pytest.raises(TypeError):
        write_tensors(path, {1: np.zeros(3)})
    assert list(read_tensors(path)) == ["a"]
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]
