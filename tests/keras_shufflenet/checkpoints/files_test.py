import argparse
import importlib
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from keras_shufflenet.checkpoints.files import _unwrapped, read_tensors, write_tensors

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


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "model.", "net.", "module._orig_mod.", "_orig_mod.module.model.net."],
)
def test_prefixes_that_all_names_share_are_taken_off(prefix, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    write_tensors(path, {f"{prefix}{name}": array for name, array in tensors().items()})
    assert set(read_tensors(path)) == set(tensors())
    # Not where it is part of a name.
    for names in ({"module.a", "b"}, {"module.", "module.a"}, {"model", "model.a"}):
        write_tensors(path, {name: np.zeros(1) for name in names})
        assert set(read_tensors(path)) == names


def test_the_counter_of_an_average_is_no_weight(tmp_path):
    # As PyTorch's AveragedModel saves itself.
    names = {f"module.{name}": array for name, array in tensors().items()}
    write_tensors(tmp_path / "a.npz", {"n_averaged": np.zeros((), "int64"), **names})
    assert set(read_tensors(tmp_path / "a.npz")) == set(tensors())


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


PLAIN, AVERAGE = {"a": "weights"}, {"a": "average"}


@pytest.mark.parametrize("average", ["model_ema", "state_dict_ema", "ema", "ema_state_dict"])
@pytest.mark.parametrize("plain", ["state_dict", "model", "model_state_dict", "net"])
def test_of_a_network_and_its_average_one_is_chosen_and_said(plain, average, caplog):
    content = {average: AVERAGE, "epoch": 3, plain: PLAIN}
    path = Path(f"{plain}-{average}.pth")
    with caplog.at_level("WARNING"):
        assert _unwrapped(content, path, average=False) == PLAIN
        assert _unwrapped(content, path, average=False) == PLAIN
    (message,) = caplog.messages
    assert message == (
        f"checkpoint '{path}' holds '{plain}' and '{average}', its average over the steps: "
        f"'{plain}' is read; name '{path}#ema' for the average"
    )
    caplog.clear()
    assert _unwrapped(content, path, average=True) == AVERAGE
    # Without the network there is nothing to choose.
    assert _unwrapped({average: AVERAGE}, path, average=False) == AVERAGE
    assert not caplog.messages
    with pytest.raises(ValueError, match=rf"'{path}' holds no average .*; name it without #ema"):
        _unwrapped({plain: PLAIN}, path, average=True)


def test_a_file_without_wrappers_has_no_average(tmp_path):
    write_tensors(tmp_path / "a.npz", tensors())
    with pytest.raises(ValueError, match=r"a\.npz' holds no average .*; name it without #ema"):
        read_tensors(tmp_path / "a.npz#ema")
    with pytest.raises(FileNotFoundError, match=r"gone\.pth' does not exist; check the path"):
        read_tensors(tmp_path / "gone.pth#ema")
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(FileNotFoundError, match=r"pipe\.pth' is not a plain file; check the path"):
        read_tensors(tmp_path / "pipe.pth")


def test_a_training_script_s_file_of_a_network_and_its_average(tmp_path):
    # As the training scripts of torchvision leave it.
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pth"
    network = {name: torch.from_numpy(array) for name, array in tensors().items()}
    average = {f"module.{name}": tensor + 1 for name, tensor in network.items()}
    arguments = argparse.Namespace(lr=0.5, model="shufflenet_v2_x1_0")
    content = {"model": network, "model_ema": {"n_averaged": torch.tensor(3), **average}}
    torch.save({**content, "args": arguments, "epoch": 3}, path)
    assert_equal(read_tensors(path), tensors())
    again = read_tensors(f"{path}#ema")
    assert_equal(again, {name: tensor.numpy() + 1 for name, tensor in network.items()})


def test_parameters_are_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    value = torch.nn.Parameter(torch.tensor([1.5, -2.0]))
    bare = torch.nn.Parameter(torch.tensor([1.5]).bfloat16(), requires_grad=False)
    torch.save({"a": value, "b": bare, "c": value.detach().requires_grad_()}, tmp_path / "a.pth")
    found = read_tensors(tmp_path / "a.pth")
    assert {name: array.tolist() for name, array in found.items()} == {
        "a": [1.5, -2.0],
        "b": [1.5],
        "c": [1.5, -2.0],
    }


def test_a_tensor_that_numpy_does_not_have_is_named(tmp_path):
    torch = pytest.importorskip("torch")
    for value in (torch.eye(2).to_sparse(), torch.zeros(2).to(torch.float8_e4m3fn)):
        torch.save({"a": value}, tmp_path / "a.pth")
        with pytest.raises(
            ValueError, match=r"a\.pth': 'a', torch\.\w+ .* state_dict\(\) in float32"
        ):
            read_tensors(tmp_path / "a.pth")


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
    with pytest.raises(ValueError, match="holds no tensors; save the model's"):
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
