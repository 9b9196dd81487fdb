import keras
import numpy as np
import pytest

from common.cli import UserError
from common.tflite import flatbuffer
from common.tflite.operators import ends_with_softmax, operator_counts, read_operators
from converters.conversion import canonical
from converters.edgetpu_target.check import predict
from edge.profiling.layers import read_layers
from keras_shufflenet import ShuffleNetV2


def test_operators_are_counted_with_their_versions(good):
    counts = operator_counts(good)
    assert {name: entry["count"] for name, entry in counts.items()} == {
        "CONV_2D": 2,
        "FULLY_CONNECTED": 1,
        "MEAN": 1,
    }
    assert all(version >= 1 for entry in counts.values() for version in entry["versions"])


@pytest.mark.parametrize(
    ("activation", "io_dtype"), [("softmax", "int8"), ("softmax", "float32"), (None, "float32")]
)
def test_a_softmax_at_the_end_is_found(activation, io_dtype, tmp_path):
    image = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
    model = keras.Model(image, keras.layers.Dense(2, activation)(x))
    images = np.random.default_rng(0).uniform(-1, 1, (8, 8, 8, 3)).astype(np.float32)
    path = tmp_path / "model.tflite"
    path.write_bytes(canonical.convert(model, "int8-ptq", images, io_dtype))
    assert ends_with_softmax(path) == (activation == "softmax")


@pytest.mark.medium
def test_usual_conversion_of_shufflenet_v2_has_its_16_shuffles(tmp_path):
    network = ShuffleNetV2(
        input_shape=(32, 32, 3),
        classes=4,
        classifier_activation=None,
        small_images=True,
        stem_channels=8,
        stage_channels=(16, 32, 64),
        head_channels=32,
    )
    path = tmp_path / "model.tflite"
    path.write_bytes(canonical.convert(network))
    counts = {name: entry["count"] for name, entry in operator_counts(path).items()}
    assert counts == {
        "CONCATENATION": 16,
        "CONV_2D": 37,
        "DEPTHWISE_CONV_2D": 19,
        "FULLY_CONNECTED": 1,
        "MEAN": 1,
        "RESHAPE": 32,
        "SPLIT": 13,
        "TRANSPOSE": 16,
    }


@pytest.mark.parametrize("share", [0, 0.002, 0.05, 0.3, 0.6, 0.9, 0.98])
def test_truncated_file_is_named(good, tmp_path, share):
    content = good.read_bytes()
    short = tmp_path / "short.tflite"
    short.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"short\.tflite"):
        operator_counts(short)


def test_flipped_bits_never_raise_anything_else(good, tmp_path):
    random = np.random.default_rng(0)
    content = bytearray(good.read_bytes())
    damaged = tmp_path / "damaged.tflite"
    refused = 0
    for position in random.integers(0, len(content), 200):
        content[position] ^= 0x80
        damaged.write_bytes(content)
        try:
            operator_counts(damaged)
        except UserError:
            refused += 1
        content[position] ^= 0x80
    assert refused  # Else nothing of what guards against damage was reached.


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.tflite"):
        operator_counts(tmp_path / "none.tflite")


@pytest.mark.parametrize("inputs", [[], [-1, -1, -1]])
def test_operators_without_inputs_are_refused(good, tmp_path, inputs):
    model = flatbuffer.unpack(good.read_bytes())
    for operator in model.subgraphs[0].operators:
        operator.inputs = inputs
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(flatbuffer.pack(model))
    for read in (read_operators, read_layers, predict):
        with pytest.raises(
            UserError, match=r"broken\.tflite is damaged \(operator 0, CONV_2D, lacks"
        ):
            read(broken)
