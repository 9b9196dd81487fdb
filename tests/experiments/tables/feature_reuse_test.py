import keras
import numpy as np
import pytest

from common.cli import UserError
from converters.graph import reader
from experiments.harness.experiment import Settings
from experiments.tables import feature_reuse
from experiments.tables.feature_reuse import run, stage_reuse
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2

SMALL = {"input_shape": (32, 32, 3), "classes": 3, "small_images": True}


@pytest.fixture(scope="module")
def network():
    return ShuffleNetV2(0.5, **SMALL)


def followed(units):
    """Returns which unit made each input channel of a unit's main path, found with the layers."""
    makers = np.zeros((1, 1, 1, units[0].filters), np.float32)
    taken = {}
    for index, unit in enumerate(units[1:], 1):
        passing, entering = (np.asarray(half) for half in unit.split(makers))
        taken[index] = entering.ravel()
        makers = np.concatenate([passing, np.full_like(entering, index)], axis=-1)
        makers = makers if unit.shuffle is None else np.asarray(unit.shuffle(makers))
    return taken


@pytest.mark.parametrize("convention", ["paper", "megvii"])
def test_channels_are_followed_as_the_layers_move_them(network, convention):
    if convention == "megvii":
        small = {**SMALL, "units_per_stage": (1, 5, 1)}
        network = ShuffleNetV2(0.5, convention=convention, **small)
    units = reader.stages(network)[1]
    found = stage_reuse(3, units)
    for target, makers in followed(units).items():
        counts = np.bincount(makers.astype(int), minlength=len(units))
        np.testing.assert_array_equal(found.made[:, target], counts)
        kernel = np.abs(np.asarray(units[target].pointwise1.kernel)[0, 0])
        for source in range(target):
            expected = kernel[makers == source].sum()
            assert found.l1[source, target] == pytest.approx(expected, rel=1e-6)


def test_the_formula_is_what_splits_and_shuffles_do(network):
    # 48 channels can be halved four times; 192 can be halved in three units without a remainder.
    stages = reader.stages(network)
    for number in (0, 2):
        found = stage_reuse(number + 2, stages[number])
        np.testing.assert_array_equal(found.channels, found.formula)
    assert list(stage_reuse(4, stages[2]).formula[0]) == [0, 96, 48, 24]


def test_a_trained_network_shows_its_weights(monkeypatch, network, tmp_path):
    path = tmp_path / "model.keras"
    network.save(path)
    result = run(Settings(), path)
    assert result.tables[1].headers[-1] == "mean of a channel's l1 norm"
    assert len(result.verdicts) == 4 and result.data["model"] == str(path)
    monkeypatch.setattr(feature_reuse, "ShuffleNetV2", lambda scale: network)
    without = run(Settings())
    assert len(without.tables[0].headers) == 4 and "--model" in without.verdicts[1]


def test_other_networks_are_refused(tmp_path):
    ShuffleNetV1(0.25, 3, units_per_stage=(1, 1, 1), **SMALL).save(tmp_path / "model.keras")
    with pytest.raises(UserError, match="is not a ShuffleNetV2"):
        run(Settings(), tmp_path)
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    with pytest.raises(UserError, match="is not a ShuffleNetV2"):
        run(Settings(), tmp_path)
