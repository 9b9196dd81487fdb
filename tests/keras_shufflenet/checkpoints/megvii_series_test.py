"""Logits of Megvii's own code for the networks that followed V2.

They were computed by that code (github.com/megvii-model/ShuffleNet-Series, commit aa91feb) with
PyTorch 2.13 in float64, for 5 classes, from the weights and the image that are made here: each
tensor by its key. V2+ as published; of the two large networks, whose tables are fixed, the code ran
with other numbers of units and widths, those of `SMALLER`.
"""

import zlib

import keras
import numpy as np
import pytest

from keras_shufflenet import ShuffleNetV2Large, ShuffleNetV2Plus, preprocessing_of
from keras_shufflenet.checkpoints.files import write_tensors
from keras_shufflenet.checkpoints.names import FORMATS, key_names
from keras_shufflenet.checkpoints.weights import Checkpoint, load, unit_blocks

SMALLER = {"stem_channels": (4, 6, 16), "units_per_stage": (2, 1, 2, 1)}
LARGE = {"stage_channels": (32, 64, 64, 96), "head_channels": 20, **SMALLER}
EXLARGE = {"stage_channels": (32, 32, 64, 64), **SMALLER}
# What builds the network, its family, and Megvii's logits.
NETWORKS = {
    "plus small": (
        lambda **k: ShuffleNetV2Plus("small", **k), "shufflenet_v2_plus",
        [0.01368601, -0.01378325, 0.001785576, -0.05833628, -0.01480769],
    ),
    "plus medium": (
        lambda **k: ShuffleNetV2Plus("medium", **k), "shufflenet_v2_plus",
        [0.01630341, 0.002667607, 0.03440286, -0.03922166, 0.008701522],
    ),
    "plus large": (
        lambda **k: ShuffleNetV2Plus("large", **k), "shufflenet_v2_plus",
        [0.01216136, 0.006353324, 0.0351313, -0.04439662, 0.01482257],
    ),
    "large": (
        lambda **k: ShuffleNetV2Large("large", **LARGE, **k), "shufflenet_v2_large",
        [0.1817814, 0.3459889, -0.003806512, -0.3146504, -0.2186927],
    ),
    "exlarge": (
        lambda **k: ShuffleNetV2Large("exlarge", **EXLARGE, **k), "shufflenet_v2_exlarge",
        [-0.01739083, 0.3076362, -0.02070902, 0.2522288, -0.09174401],
    ),
}  # fmt: skip
ARGUMENTS = {"classes": 5, "classifier_activation": None}


def value(key, shape):
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    if len(shape) > 1:
        return generator.normal(0, np.sqrt(1.5 / np.prod(shape[1:])), shape).astype("float32")
    if key.endswith(("weight", "running_var")):
        return generator.uniform(0.8, 1.2, shape).astype("float32")
    return generator.normal(0, 0.1, shape).astype("float32")


def shape_in_pytorch(path, key, shape):
    """The shape of the tensor called `key` that one of our weights comes from."""
    if len(shape) == 2:
        return shape[::-1]
    if len(shape) < 4:
        return shape
    height, width, inputs, outputs = shape
    if "depthwise" in path:
        return inputs, 1, height, width
    is_linear = "se_fc" in key or key.startswith("fc.")
    return (outputs, inputs) if is_linear else (outputs, inputs, height, width)


def megviis_tensors(model, network):
    """A checkpoint's tensors; each is the value of its key, so that none can be mixed up."""
    (known,) = (known for known in FORMATS if known.network == network)
    keys = key_names(known, unit_blocks(model))
    tensors = {
        keys[w.path]: value(keys[w.path], shape_in_pytorch(w.path, keys[w.path], tuple(w.shape)))
        for w in model.weights
    }
    return Checkpoint("a.npz", known, tensors)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.medium)
        if name in ("plus medium", "plus large")
        else name
        for name in NETWORKS
    ],
)
def test_logits_are_those_of_megviis_code(name):
    build, network, expected = NETWORKS[name]
    model = build(padding="symmetric", **ARGUMENTS)
    load(model, megviis_tensors(model, network))
    image = np.random.default_rng(1).uniform(-1, 1, (1, 224, 224, 3)).astype("float32")
    found = keras.ops.convert_to_numpy(model(image))[0]
    # Rounding: at most 1e-6 was measured.
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["plus small", "large", "exlarge"])
def test_the_weights_argument_recognizes_a_file(name, tmp_path):
    build, network, _ = NETWORKS[name]
    small = {"input_shape": (64, 64, 3), **ARGUMENTS}
    model = build(**small)
    checkpoint = megviis_tensors(model, network)
    load(model, checkpoint)
    more = {} if name == "plus small" else {
        # Only for training, and the same layer under another name.
        "predict_56.fc.weight": np.zeros((1000, 256), np.float32),
        f"{checkpoint.format.unit}.se_block.0.weight".format(
            block=0, stage=2, letter="a", unit=0, index=0
        ): np.zeros((4, 4), np.float32),
    }  # fmt: skip
    write_tensors(
        tmp_path / "a.npz", {f"module.{k}": a for k, a in (checkpoint.tensors | more).items()}
    )
    again = build(weights=tmp_path / "a.npz", **small)

    for weight, wanted in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(weight), keras.ops.convert_to_numpy(wanted), weight.path
        )
    assert again.get_layer("stage2_unit1").padding == "symmetric"
    assert preprocessing_of(again) == (None if name == "large" else "raw")
