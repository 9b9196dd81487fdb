"""A network that is none of ours: converted once, compared with Keras, timed; and one refused."""

import functools

import keras
import pytest

from benchmarks.measuring import any_networks
from edge.running.side_by_side import Turns

pytestmark = pytest.mark.medium

L = keras.layers


def small(input_shape, weights, classifier_activation, normalization=L.BatchNormalization):
    image = keras.Input(input_shape)
    x = L.Conv2D(8, 3, strides=4, activation="relu")(image)
    x = L.Conv2D(8, 3, strides=2, use_bias=False)(x)
    # As InceptionV3's, which have no scale.
    x = L.ReLU()(normalization(scale=False)(x))
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(image, L.Dense(5, classifier_activation)(x), name="small")


def test_a_network_is_converted_once_and_one_is_refused(tmp_path):
    networks = {
        "small": small,
        "normed": functools.partial(small, normalization=L.LayerNormalization),
    }
    found = any_networks.convert_all(networks, 75, tmp_path)
    one = found["small"]
    # BatchNormalization is part of the convolution before it in both.
    assert one["operators"] == {"usual": 4, "ours": 4}
    assert one["float_error"] < 1e-4
    assert min(one["cosine"].values()) > 0.98
    assert "normalization" in found["normed"]["refused"]["ours"]

    # None is built again.
    assert any_networks.convert_all(dict.fromkeys(networks), 75, tmp_path) == found
    run = {"networks": any_networks.timed(found, Turns(2, 1, 1, 0))}
    lines = any_networks.table(run).splitlines()
    assert lines[2].startswith("| small | 4 | 4 |") and "x** (" in lines[2]
    assert "| - |" in lines[3] and any(line.startswith("normed, ours: ") for line in lines)
