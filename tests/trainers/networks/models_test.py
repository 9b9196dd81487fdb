import keras
import numpy as np
import pytest

from common.cli import UserError
from trainers.networks.models import build_model, full_precision
from trainers.recipes import make_config


def build(channels=1, classes=10, weights=None, **values):
    """Returns the network, and the settings that `full_precision` needs."""
    config = make_config("digits", "w", values)
    settings, precision = (config.network, config.images), config.optimization.precision
    return build_model(*settings, channels, classes, precision, weights), (*settings, precision)


def test_a_scale_that_the_papers_lack_is_refused():
    with pytest.raises(UserError, match=r"shufflenet_v2 cannot be built: .*scale.*3\.0"):
        build(scale=3.0)


@pytest.mark.parametrize(("size", "channels"), [(None, 416), ("medium", 512)])
def test_the_size_chooses_the_network_of_v2_plus(size, channels):
    model, _ = build(model="shufflenet_v2_plus", scale=1.0, size=size, padding="symmetric")
    last = model.get_layer("stage5_unit4")
    assert (last.filters, last.padding, model.output_shape) == (channels, "symmetric", (None, 10))
    # Random numbers that a checkpoint does not keep.
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_computes_in_half_and_keeps_its_weights_whole(precision):
    model, settings = build(precision=precision)
    assert model.compute_dtype == precision.removeprefix("mixed_")
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    twin = full_precision(model, *settings)
    assert twin.compute_dtype == "float32"
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 1)).astype("float32")
    exact, rounded = twin(images).numpy(), model(images).numpy().astype("float32")
    assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()


def test_full_precision_of_a_float32_network_is_itself():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert full_precision(model, *build()[1]) is model


def classifier(activation=None, classes=10):
    """A small network that is not one of ours."""
    image = keras.Input((32, 32, 1))
    x = keras.layers.Conv2D(4, 3, strides=8, name="conv")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(classes, activation, name="dense")(x))


def test_the_architecture_of_a_file_starts_from_the_weights_of_the_seed(tmp_path):
    saved = classifier()
    saved.save(tmp_path / "net.keras")
    kernels = []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(seed)
        model, _ = build(model=str(tmp_path / "net.keras"))
        assert [w.path for w in model.weights] == [w.path for w in saved.weights]
        kernels.append(model.get_layer("conv").kernel.numpy())
    assert (kernels[0] == kernels[1]).all() and (kernels[0] != kernels[2]).any()
    assert (kernels[0] != saved.get_layer("conv").kernel.numpy()).any()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (classifier(classes=3), r"maps \(None, 32, 32, 1\) to \(None, 3\), .*\(None, 10\)"),
        (classifier("softmax"), "ends with a softmax"),
    ],
)
def test_an_architecture_for_something_else_is_refused(model, message, tmp_path):
    model.save(tmp_path / "net.keras")
    with pytest.raises(UserError, match=f"net.keras {message}"):
        build(model=str(tmp_path / "net.keras"))


def test_a_missing_file_is_refused():
    with pytest.raises(UserError, match=r"nothing.keras does not exist"):
        build(model="nothing.keras")


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "net.keras").mkdir()
    with pytest.raises(UserError, match=r"net.keras is a folder; name a .keras file"):
        build(model=str(tmp_path / "net.keras"))


def test_only_shufflenets_accept_the_other_kinds_of_weights():
    with pytest.raises(UserError, match="--weights imagenet is for ShuffleNets"):
        build(3, weights="imagenet", model="mobilenet_v2")
