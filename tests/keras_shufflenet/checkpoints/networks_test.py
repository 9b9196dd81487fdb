import re
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_shufflenet import ShuffleNetV2, preprocessing_of
from keras_shufflenet.checkpoints.conversion import convert, inspect
from keras_shufflenet.checkpoints.files import read_tensors, write_tensors
from keras_shufflenet.checkpoints.names import FORMATS, key_names
from keras_shufflenet.checkpoints.networks import describe, load_checkpoint, save_torchvision
from keras_shufflenet.checkpoints.weights import torchvision_tensors, unit_blocks

FIXTURES = Path(__file__).resolve().parents[4] / "shared/fixtures/checkpoints"
COMMAND = "keras_shufflenet.checkpoints"
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def deployed(model, x, target):
    from converters.graph.deployment import deployment_graph
    from converters.graph.emitter import emit

    return np.asarray(emit(deployment_graph(model, target))(x))


def relative_error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("name", ["torchvision_0.5x", "megvii_v2_0.5x", "megvii_v1_0.5x_g3"])
def test_logits_are_those_of_the_reference_code(name):
    pytest.importorskip("torch")
    if not FIXTURES.is_dir():
        pytest.skip(f"the reference logits are not in {FIXTURES}")
    stored = np.load(FIXTURES / f"{name}_io.npz")
    model = load_checkpoint(FIXTURES / f"{name}.pth", classifier_activation=None)
    x = stored["input_nchw"].transpose(0, 2, 3, 1)
    if preprocessing_of(model) == "raw":
        # Megvii's networks see blue, green, red; ours red, green, blue.
        x = x[..., ::-1]

    assert relative_error(keras.ops.convert_to_numpy(model(x)), stored["logits"]) <= 1e-4
    for target in ("cpu", "ethosu") if ON_TENSORFLOW else ():
        assert relative_error(deployed(model, x, target), stored["logits"]) <= 1e-4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An imported model.keras, what it came from, and a model that torchvision has no like of."""
    folder = tmp_path_factory.mktemp("models")
    arguments = {"input_shape": (64, 64, 3), "classes": 7, "classifier_activation": None}
    model = ShuffleNetV2(0.5, padding="symmetric", preprocessing="torch", **arguments)
    model.save(folder / "model.keras")
    save_torchvision(model, folder / "model.npz")
    ShuffleNetV2(0.5, **arguments).save(folder / "same.keras")
    return folder


def test_there_and_back(folder, tmp_path, capsys):
    convert(folder / "model.npz", tmp_path / "a.keras", input_size=64)
    convert(tmp_path / "a.keras", tmp_path / "b.npz")
    printed = capsys.readouterr().out

    assert "torchvision's ShuffleNetV2 0.5x, 7 classes: padding='symmetric'" in printed
    assert "loaded again and equal" in printed
    assert "338 tensors for torchvision's ShuffleNetV2, read again and equal" in printed
    found, expected = read_tensors(tmp_path / "b.npz"), read_tensors(folder / "model.npz")
    assert list(found) == list(expected)
    for key, array in expected.items():
        assert found[key].shape == array.shape
        np.testing.assert_array_equal(found[key], array, err_msg=key)
    imported = keras.saving.load_model(tmp_path / "a.keras")
    original = keras.saving.load_model(folder / "model.keras")
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(imported(x)), keras.ops.convert_to_numpy(original(x))
    )
    assert preprocessing_of(imported) == "torch"


@pytest.mark.slow
def test_the_command(folder, run_cli, tmp_path):
    write_tensors(tmp_path / "other.npz", {"layer1.weight": np.zeros((2, 3))})
    checkpoint = run_cli(COMMAND, "inspect", folder / "model.npz").stdout
    failed = run_cli(COMMAND, "convert", "other.npz", "--output=a.keras", check=False)

    assert re.search(r"^conv1\.0\.weight +float32 +24x3x3x3$", checkpoint, re.MULTILINE)
    assert re.search(r"^conv1\.1\.num_batches_tracked +int64 +scalar$", checkpoint, re.MULTILINE)
    assert "338 tensors" in checkpoint and "preprocessing='torch'" in checkpoint
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("error: checkpoint 'other.npz' is none of")
    assert not (tmp_path / "a.keras").exists()


def test_a_command_line_without_a_command_is_told(run_cli):
    done = run_cli(COMMAND, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: name a command, convert or inspect")


def test_other_files_are_listed_too(folder, tmp_path, capsys):
    inspect(folder / "model.keras")
    model = capsys.readouterr().out
    assert "282 tensors" in model and re.search(r"float32 +1024x7$", model, re.MULTILINE)
    write_tensors(tmp_path / "other.npz", {"layer1.weight": np.zeros((2, 3))})
    inspect(tmp_path / "other.npz")
    other = capsys.readouterr().out
    assert "layer1.weight  float64   2x3" in other
    assert "its first key is 'layer1.weight'" in other


@pytest.mark.parametrize(
    ("file", "output", "message"),
    [
        ("model.npz", "a.onnx", r"convert goes from \.pth, .* to \.keras"),
        ("model.npz", "model.keras", "exists already; add --overwrite"),
        ("same.keras", "a.npz", "torchvision's ShuffleNetV2 has padding='symmetric'"),
    ],
)
def test_what_cannot_be_converted_is_refused(file, output, message, folder):
    before = sorted(folder.iterdir())
    with pytest.raises(ValueError, match=message) as caught:
        convert(folder / file, folder / output)
    assert "\n" not in str(caught.value)
    assert sorted(folder.iterdir()) == before


def test_a_damaged_keras_file_is_named(folder, tmp_path):
    path = tmp_path / "cut.keras"
    path.write_bytes((folder / "model.keras").read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"cut\.keras' is damaged"):
        inspect(path)
    with pytest.raises(ValueError, match=r"cut\.keras' cannot be loaded"):
        convert(path, tmp_path / "a.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["cut.keras"]


def described(known, widths):
    """Describes a checkpoint of which the two tensors that matter are there."""
    classifier, head = known.layers["predictions"], known.layers.get("head_conv")
    tensors = {known.known_by: np.zeros(()), f"{classifier}.weight": np.zeros((9, widths))}
    if head is not None:
        tensors[f"{head}.weight"] = np.zeros((1, widths, 1, 1))
    return describe(tensors, "a.npz")


def test_networks_are_known_by_their_widths():
    torchvision, megvii_plus, megvii_v2, megvii_v1, *large, _ = FORMATS
    for scale, width in {0.5: 192, 1.0: 464, 1.5: 704, 2.0: 976}.items():
        assert described(torchvision, width)[1:3] == ({"scale": scale}, 9)
        assert described(megvii_v2, width)[1:3] == ({"scale": scale}, 9)
    for size, width in {"small": 416, "medium": 512, "large": 672}.items():
        assert described(megvii_plus, width)[1:3] == ({"size": size}, 9)
    for known, size, width in zip(large, ("large", "exlarge"), (1280, 2560), strict=True):
        assert described(known, width)[1:3] == ({"size": size}, 9)
    # From Megvii's network.py: 3 and 8 groups.
    widths = {(0.5, 3): 480, (1.0, 3): 960, (1.5, 3): 1440, (2.0, 3): 1920}
    widths |= {(0.5, 8): 768, (1.0, 8): 1536, (1.5, 8): 2304, (2.0, 8): 3072}
    for (scale, groups), width in widths.items():
        assert described(megvii_v1, width)[1:3] == ({"scale": scale, "groups": groups}, 9)
    with pytest.raises(ValueError, match=r"'conv5\.0\.weight' takes 500 channels; .* 192, 464"):
        described(torchvision, 500)


def test_a_file_without_a_classifier_is_refused():
    tensors = {FORMATS[0].known_by: np.zeros(())}
    with pytest.raises(ValueError, match=r"has no 'fc\.weight' of 2 dimensions"):
        describe(tensors, "a.npz")


def test_names_of_all_weights_are_different():
    model = ShuffleNetV2(0.5, input_shape=(32, 32, 3))
    for known in (FORMATS[0], FORMATS[2]):
        names = key_names(known, unit_blocks(model))
        assert len(set(names.values())) == len(names)
        assert {weight.path for weight in model.weights} <= set(names)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_every_kind_of_file_loads_alike(suffix, folder, tmp_path):
    pytest.importorskip({".npz": "numpy", ".pth": "torch"}.get(suffix, suffix[1:]))
    model = keras.saving.load_model(folder / "model.keras")
    save_torchvision(model, tmp_path / f"a{suffix}")
    again = load_checkpoint(tmp_path / f"a{suffix}", input_shape=(64, 64, 3))
    expected = torchvision_tensors(model)
    for key, array in torchvision_tensors(again).items():
        np.testing.assert_array_equal(array, expected[key], err_msg=key)


def grey_tensors(model):
    """Torchvision's tensors of a network with a stem for one channel."""
    tensors = torchvision_tensors(model)
    return {**tensors, "conv1.0.weight": tensors["conv1.0.weight"][:, :1]}


def test_a_stem_for_one_channel_is_imported(folder, tmp_path, capsys):
    model = keras.saving.load_model(folder / "model.keras")
    write_tensors(tmp_path / "grey.npz", grey_tensors(model))
    convert(tmp_path / "grey.npz", tmp_path / "grey.keras", input_size=64)
    said = capsys.readouterr().out
    assert "7 classes, 1 input channels: padding='symmetric', convention='paper'\n" in said
    grey = keras.saving.load_model(tmp_path / "grey.keras")
    assert grey.input_shape == (None, 64, 64, 1)
    # The means of three colours say nothing about grey.
    assert preprocessing_of(grey) is None
    # An image whose other channels are zero.
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 1)).astype("float32")
    found, expected = grey(x), model(np.pad(x, [(0, 0)] * 3 + [(0, 2)]))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(expected), atol=1e-5
    )
    assert load_checkpoint(tmp_path / "grey.npz").input_shape == (None, 224, 224, 1)


def test_the_average_in_a_file_is_converted(folder, tmp_path):
    torch = pytest.importorskip("torch")
    plain = read_tensors(folder / "model.npz")
    average = {**plain, "fc.bias": np.arange(7, dtype="float32")}
    state = {
        key: {name: torch.from_numpy(array) for name, array in tensors.items()}
        for key, tensors in (("state_dict", plain), ("state_dict_ema", average))
    }
    torch.save(state, tmp_path / "a.pth")
    convert(Path(f"{tmp_path}/a.pth#ema"), tmp_path / "a.keras")
    bias = keras.saving.load_model(tmp_path / "a.keras").get_layer("predictions").bias
    np.testing.assert_array_equal(bias, average["fc.bias"])


@pytest.mark.parametrize("tensors", [{"layer1.weight": np.zeros((2, 3))}, {FORMATS[0].known_by: 0}])
def test_errors_end_with_what_to_do(tensors, tmp_path):
    write_tensors(tmp_path / "a.npz", {name: np.asarray(array) for name, array in tensors.items()})
    with pytest.raises(ValueError, match=r"; (save|get|build) .*$"):
        load_checkpoint(tmp_path / "a.npz")
