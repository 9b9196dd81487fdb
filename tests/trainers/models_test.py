import keras
import numpy as np
import pytest

from trainers.cli import UserError
from trainers.models import build_model, full_precision
from trainers.recipes import make_config


def config_of(**values):
    return make_config("digits", "w", values)


def test_a_scale_that_the_papers_lack_is_refused():
    with pytest.raises(UserError, match=r"shufflenet_v2 cannot be built: .*scale.*3\.0"):
        build_model(config_of(scale=3.0), 1, 10)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_computes_in_half_and_keeps_its_weights_whole(precision):
    config = config_of(precision=precision)
    model = build_model(config, 1, 10)
    assert model.compute_dtype == precision.removeprefix("mixed_")
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    twin = full_precision(model, config)
    assert twin.compute_dtype == "float32"
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 1)).astype("float32")
    exact, rounded = twin(images).numpy(), model(images).numpy().astype("float32")
    assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()


def test_full_precision_of_a_float32_network_is_itself():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert full_precision(model, config_of()) is model
