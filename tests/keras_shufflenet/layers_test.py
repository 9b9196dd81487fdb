import keras
import numpy as np
import pytest

from keras_shufflenet import ChannelShuffle, ChannelSplit, SqueezeExcite
from keras_shufflenet.layers import pointwise


def random_images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def as_array(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize(("groups", "channels"), [(1, 5), (2, 8), (3, 12), (4, 4), (8, 24)])
def test_shuffle_is_the_papers_permutation(groups, channels):
    x = random_images(3, 5, 7, channels)
    expected = np.empty_like(x)
    per_group = channels // groups
    for group in range(groups):
        for member in range(per_group):
            expected[..., member * groups + group] = x[..., group * per_group + member]

    np.testing.assert_array_equal(as_array(ChannelShuffle(groups)(x)), expected)


def test_shuffle_is_undone_by_the_other_number_of_groups():
    x = random_images(2, 3, 3, 12)

    np.testing.assert_array_equal(as_array(ChannelShuffle(4)(ChannelShuffle(3)(x))), x)


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("size", [(1, 1), (5, 8), (9, 3)])
def test_shuffle_with_unknown_batch_and_size(batch, size):
    inputs = keras.Input((None, None, 6))
    outputs = ChannelShuffle(3)(inputs)
    assert outputs.shape == (None, None, None, 6)
    model = keras.Model(inputs, outputs)
    x = random_images(batch, *size, 6)

    # predict traces a graph in which the sizes are unknown.
    np.testing.assert_array_equal(
        model.predict(x, batch_size=2, verbose=0), as_array(ChannelShuffle(3)(x))
    )


def test_shuffle_of_an_empty_batch():
    assert ChannelShuffle(2)(np.zeros((0, 4, 4, 6), "float32")).shape == (0, 4, 4, 6)


def test_shuffle_transposes_at_most_four_dimensions(monkeypatch):
    ranks = []
    transpose = keras.ops.transpose

    def spy(x, axes):
        ranks.append(len(axes))
        return transpose(x, axes)

    monkeypatch.setattr("keras_shufflenet.layers.ops.transpose", spy)
    ChannelShuffle(2)(random_images(1, 4, 4, 6))

    assert len(ranks) == 1 and ranks[0] <= 4


def test_split_gives_the_two_halves():
    x = random_images(2, 5, 3, 10)
    left, right = ChannelSplit()(x)

    np.testing.assert_array_equal(as_array(left), x[..., :5])
    np.testing.assert_array_equal(as_array(right), x[..., 5:])
    assert ChannelSplit().compute_output_shape((None, 5, None, 10)) == [(None, 5, None, 5)] * 2


def test_interleaved_split_is_of_even_and_odd_channels():
    x = np.arange(2 * 3 * 10, dtype="float32").reshape(1, 2, 3, 10)
    layer = ChannelSplit(interleaved=True)
    even, odd = layer(x)

    np.testing.assert_array_equal(even, x[..., [0, 2, 4, 6, 8]])
    np.testing.assert_array_equal(odd, x[..., [1, 3, 5, 7, 9]])
    assert layer.get_config()["interleaved"] is True
    assert ChannelSplit.from_config(layer.get_config()).interleaved


def test_squeeze_excite_is_its_formula():
    layer = SqueezeExcite(reduction=4)
    x = random_images(2, 5, 3, 8)
    layer(x)
    for weight in layer.weights:  # biases start at zero: a test would not see them
        weight.assign(random_images(*weight.shape))
    y = as_array(layer(x))

    reduce, reduce_bias, expand, expand_bias = [as_array(weight) for weight in layer.weights]
    squeezed = np.maximum(x.mean(axis=(1, 2)) @ reduce[0, 0] + reduce_bias, 0)
    gate = 1 / (1 + np.exp(-(squeezed @ expand[0, 0] + expand_bias)))
    np.testing.assert_allclose(y, x * gate[:, None, None, :], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "x_shape"),
    [
        (ChannelShuffle(3), (1, 2, 2, 6)),
        (ChannelSplit(), (1, 2, 2, 6)),
        (SqueezeExcite(2), (1, 2, 2, 6)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_round_trip_of_the_config(layer, x_shape):
    layer(np.zeros(x_shape, "float32"))
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)

    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    assert config["registered_name"] == f"keras_shufflenet>{type(layer).__name__}"


@pytest.mark.parametrize("value", [0, -1, 2.0, "2", None, True])
def test_wrong_arguments_are_named(value):
    with pytest.raises(ValueError, match=f"`groups`.*groups={value!r}"):
        ChannelShuffle(value)
    with pytest.raises(ValueError, match=f"`reduction`.*reduction={value!r}"):
        SqueezeExcite(value)


def test_wrong_channels_are_named():
    with pytest.raises(ValueError, match=r"multiple of `groups`=3.*\(1, 2, 2, 7\)"):
        ChannelShuffle(3)(np.zeros((1, 2, 2, 7)))
    with pytest.raises(ValueError, match=r"even.*\(1, 2, 2, 7\)"):
        ChannelSplit()(np.zeros((1, 2, 2, 7)))


@pytest.mark.parametrize("make", [lambda: ChannelShuffle(2), ChannelSplit, SqueezeExcite])
def test_channels_first_is_refused(make):
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels_last"):
            make()
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize(
    "layer_class", [lambda **k: ChannelShuffle(2, **k), SqueezeExcite], ids=["shuffle", "se"]
)
def test_mixed_precision(layer_class):
    layer = layer_class(dtype="mixed_float16")
    y = layer(random_images(1, 4, 4, 6))

    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    assert {weight.dtype for weight in layer.weights} <= {"float32"}


@pytest.mark.parametrize(("channels", "filters", "groups"), [(12, 6, 3), (8, 16, 8), (6, 6, 1)])
def test_a_grouped_convolution_trains_as_it_infers(channels, filters, groups):
    layer = pointwise(filters, groups)
    x = np.random.default_rng(0).normal(size=(2, 3, 5, channels)).astype("float32")
    y = layer(x, training=True) if groups > 1 else layer(x)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(y), keras.ops.convert_to_numpy(layer(x)), atol=1e-6
    )
    assert layer.kernel.shape == (1, 1, channels // groups, filters)


def test_a_grouped_convolution_is_computed_by_groups():
    layer = pointwise(4, 2)
    x = np.random.default_rng(0).normal(size=(1, 2, 2, 6)).astype("float32")
    y = keras.ops.convert_to_numpy(layer(x, training=True))
    kernel = keras.ops.convert_to_numpy(layer.kernel)[0, 0]
    np.testing.assert_allclose(y[..., :2], x[..., :3] @ kernel[:, :2], atol=1e-6)
    np.testing.assert_allclose(y[..., 2:], x[..., 3:] @ kernel[:, 2:], atol=1e-6)
