import functools

import keras
import numpy as np
import pytest

from common.tflite.litert import LiteRTModel
from common.tflite.micro_runtime import MicroRuntime
from common.tflite.operators import operator_counts
from converters.conversion.tflite import convert_fake_quant
from converters.conversion_cache import convert_graph
from converters.graph.deployment import deployment_graph
from converters.micro_target.bands import MOST_CONCATENATED, Bands, Region, heights, write_bands
from converters.micro_target.costs import peak_bytes, total_macs
from converters.micro_target.flat_graph import FlatGraph
from converters.micro_target.rows import NoBandsError
from converters.micro_target.tables import shrink_tables, strip_names
from converters.quantization.calibration import calibrate
from converters.quantization.fake_quantization import fake_quant_model
from converters.random_weights import calibration_images, random_network
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2
from keras_shufflenet.complexity import complexity

pytestmark = pytest.mark.medium

V2 = {"stem_channels": 16, "stage_channels": (16, 32, 64), "head_channels": 32, "classes": 5}
NETWORKS = {
    "v2": functools.partial(ShuffleNetV2, **V2),
    "v2-symmetric": functools.partial(ShuffleNetV2, **V2, padding="symmetric"),
    "v2-small-images": functools.partial(ShuffleNetV2, **V2, small_images=True),
    "v1": functools.partial(ShuffleNetV1, scale=0.25, groups=3, classes=5),
    "v1-symmetric": functools.partial(ShuffleNetV1, scale=0.25, classes=5, padding="symmetric"),
}


@functools.cache
def converted(name, size, io_dtype="int8"):
    """The int8 file of a network, and the network."""
    shape = (size, size, 3)
    model = random_network(lambda: NETWORKS[name](input_shape=shape, classifier_activation=None))
    graph, images = deployment_graph(model, "micro"), calibration_images(model.input_shape)
    if io_dtype == "int8":
        return convert_graph(graph, "int8-ptq", images), model
    return convert_fake_quant(fake_quant_model(graph, calibrate(graph, images)), io_dtype), model


def images(content, count=2):
    model = FlatGraph(content)
    shape = model.shape(model.inputs[0])
    return np.random.default_rng(0).integers(-128, 128, (count, *shape)).astype(np.int8)


def micro(content, batches):
    runtime = MicroRuntime(content)
    return np.stack([runtime.run([x])[0] for x in batches])


def litert(content, batches, tmp_path, **options):
    path = tmp_path / "file.tflite"
    path.write_bytes(content)
    model = LiteRTModel(path, **options)
    return np.stack([model.invoke(x) for x in batches])


def rewritten(content, height, count):
    """The file in bands, and where they end."""
    graph = FlatGraph(content)
    shrink_tables(graph)
    stops = Region(graph.clone(), height).stops(count)
    write_bands(graph, Bands(height, stops))
    strip_names(graph)
    return graph.pack(), stops


def check(name, size, counts, tmp_path, most=None):
    content, _ = converted(name, size)
    batches = images(content)
    graph = FlatGraph(content)
    shrink_tables(graph)
    expected = micro(content, batches)
    assert len(np.unique(expected)) > 3  # Not a network that says the same of everything.
    by_reference = litert(content, batches, tmp_path, reference_kernels=True)
    found = heights(graph)[:most]
    for height in found:
        for count in counts:
            banded, stops = rewritten(content, height, count)
            assert stops[-1] == height and len(stops) <= count
            np.testing.assert_array_equal(micro(banded, batches), expected)
            actual = litert(banded, batches, tmp_path, reference_kernels=True)
            np.testing.assert_array_equal(actual, by_reference)
    return found


@pytest.fixture(autouse=True)
def interpreter():
    pytest.importorskip("tflite_micro", reason="needs the extra micro")


def test_bands_do_not_change_a_bit(tmp_path):
    # After the convolution, after the pool, after the first unit's depthwise convolutions.
    assert check("v2", 48, [4], tmp_path, most=3) == [24, 12, 6]


@pytest.mark.slow
def test_paddings_of_pytorch_and_odd_sizes(tmp_path):
    assert check("v2-symmetric", 45, [3], tmp_path, most=3) == [23, 12, 6]


@pytest.mark.slow
@pytest.mark.parametrize("size", [32, 33, 50, 96])
@pytest.mark.parametrize("name", NETWORKS)
def test_all_networks_and_sizes(name, size, tmp_path):
    assert check(name, size, range(2, MOST_CONCATENATED + 3), tmp_path)


def test_a_factor_from_another_input_is_not_cut():
    photo, gate = keras.Input((16, 16, 3)), keras.Input((1, 1, 8))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(photo)
    x = keras.layers.Multiply()([x, gate])
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, strides=2)(x))
    model = keras.Model([photo, gate], keras.layers.Dense(3)(x))
    graph, rng = deployment_graph(model, "micro"), np.random.default_rng(0)
    arrays = [rng.uniform(0, 1, (4, *t.shape[1:])).astype(np.float32) for t in model.inputs]
    content = convert_fake_quant(fake_quant_model(graph, calibrate(graph, arrays)))
    with pytest.raises(NoBandsError, match="MUL is not computed row by row"):
        heights(FlatGraph(content))


def test_the_tensors_need_less_and_the_weights_are_there_once(tmp_path):
    content, model = converted("v2", 48)
    plain = FlatGraph(content)
    banded, _ = rewritten(content, 12, 4)
    assert peak_bytes(FlatGraph(banded)) < 0.8 * peak_bytes(plain)
    # A band costs operators, not weights.
    assert len(banded) < len(content)
    extra = Region(plain, 12).extra_macs(Region(plain, 12).stops(4))
    assert total_macs(FlatGraph(banded)) - total_macs(plain) == extra > 0
    assert total_macs(plain) == complexity(model).macs


def test_slices_become_splits_without_other_results(tmp_path):
    content, _ = converted("v2", 48)
    graph = FlatGraph(content)
    before = len(graph.operators)
    shrink_tables(graph)
    assert len(graph.operators) < 0.75 * before
    strip_names(graph)
    smaller = graph.pack()
    path = tmp_path / "smaller.tflite"
    path.write_bytes(smaller)
    counts = operator_counts(path)
    assert "STRIDED_SLICE" not in counts and counts["SPLIT_V"]["count"] > 3
    batches = images(content)
    np.testing.assert_array_equal(micro(smaller, batches), micro(content, batches))
    assert MicroRuntime(smaller).arena_bytes() < MicroRuntime(content).arena_bytes()
    assert len(smaller) < 0.9 * len(content)


def test_what_is_not_computed_by_rows_is_named():
    image = keras.Input((16, 16, 4))
    x = keras.layers.Permute((2, 1, 3))(image)
    x = keras.layers.Conv2D(8, 3, 2, padding="same")(x)
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, x)
    images = np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 4)).astype(np.float32)
    content = convert_graph(deployment_graph(model, "micro"), "int8-ptq", images)
    with pytest.raises(NoBandsError, match="TRANSPOSE is not computed row by row"):
        heights(FlatGraph(content))
