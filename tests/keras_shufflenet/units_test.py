import keras
import numpy as np
import pytest

from keras_shufflenet import (
    ShuffleUnit,
    ShuffleUnitV2,
    ShuffleUnitV2ExLarge,
    ShuffleUnitV2Large,
    ShuffleUnitV2Plus,
)
from keras_shufflenet.units.v1 import bottleneck_channels

UNITS = {
    "v1_stride1": (lambda **k: ShuffleUnit(24, groups=3, **k), 24),
    "v1_stride2": (lambda **k: ShuffleUnit(24, groups=3, stride=2, **k), 12),
    "v1_first": (lambda **k: ShuffleUnit(24, 4, stride=2, group_compress=False, **k), 8),
    "v1_se": (lambda **k: ShuffleUnit(32, groups=8, se=True, **k), 32),
    "v1_se_stride2": (lambda **k: ShuffleUnit(32, groups=2, stride=2, se=True, **k), 12),
    "v1_no_shuffle": (lambda **k: ShuffleUnit(24, groups=2, shuffle=False, **k), 24),
    "v1_megvii": (lambda **k: ShuffleUnit(48, groups=3, convention="megvii", **k), 48),
    "v2_megvii_stride1": (lambda **k: ShuffleUnitV2(12, convention="megvii", **k), 12),
    "v2_megvii_stride2": (lambda **k: ShuffleUnitV2(12, stride=2, convention="megvii", **k), 5),
    "v2_stride1": (lambda **k: ShuffleUnitV2(12, **k), 12),
    "v2_stride2": (lambda **k: ShuffleUnitV2(12, stride=2, **k), 7),
    "v2_plus_stride1": (lambda **k: ShuffleUnitV2Plus(16, block="7x7", se=True, **k), 16),
    "v2_plus_stride2": (lambda **k: ShuffleUnitV2Plus(16, stride=2, block="xception", **k), 6),
    "v2_large": (lambda **k: ShuffleUnitV2Large(16, groups=2, **k), 16),
    "v2_large_first": (lambda **k: ShuffleUnitV2Large(16, 4, stride=2, first=True, **k), 6),
    "v2_exlarge": (lambda **k: ShuffleUnitV2ExLarge(16, groups=2, **k), 16),
    "v2_exlarge_first": (lambda **k: ShuffleUnitV2ExLarge(16, 4, first=True, **k), 6),
}


@pytest.fixture(params=list(UNITS))
def unit(request):
    """A function that makes the unit, and the channels it takes."""
    return UNITS[request.param]


def random_images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def as_array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def randomize(layer):
    """Gives weights and BatchNormalization's statistics values that a mistake would show in."""
    generator = np.random.default_rng(1)
    for weight in layer.weights:
        positive = weight.name in ("gamma", "moving_variance")
        values = generator.uniform(0.5, 1.5, weight.shape) if positive else None
        weight.assign(generator.normal(size=weight.shape) if values is None else values)


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 4), (1, 1), (2, 3)])
def test_output_shape_is_the_computed_one(unit, size, padding):
    make, channels = unit
    layer = make(padding=padding)
    input_shape = (2, *size, channels)
    promised = layer.compute_output_shape(input_shape)
    y = layer(random_images(*input_shape))

    assert tuple(y.shape) == promised
    *_, last = layer.inner_layers(input_shape)
    assert last.output_shape == promised


def test_unknown_sizes(unit):
    make, channels = unit
    layer = make()
    inputs = keras.Input((None, None, channels))
    model = keras.Model(inputs, layer(inputs))
    randomize(model)
    x = random_images(3, 7, 10, channels)

    assert model.output_shape == (None, None, None, layer.filters)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), as_array(layer(x)), rtol=1e-4, atol=1e-4
    )


def test_inner_layers_have_the_shapes_they_promise(unit):
    make, channels = unit
    layer = make(padding="symmetric")
    layer.build((1, 9, 11, channels))
    for inner in layer.inner_layers((1, 9, 11, channels)):
        shapes = inner.input_shape if isinstance(inner.input_shape, list) else [inner.input_shape]
        tensors = [random_images(*shape) for shape in shapes]
        y = inner.layer(tensors if len(tensors) > 1 else tensors[0])
        if isinstance(inner.output_shape, list):
            assert [tuple(half.shape) for half in y] == inner.output_shape
        else:
            assert tuple(y.shape) == inner.output_shape


def test_save_and_load_give_the_same_output(unit, tmp_path):
    make, channels = unit
    inputs = keras.Input((9, 6, channels))
    model = keras.Model(inputs, make(padding="symmetric")(inputs))
    randomize(model)
    x = random_images(2, 9, 6, channels)
    model.save(tmp_path / "unit.keras")
    again = keras.saving.load_model(tmp_path / "unit.keras")

    np.testing.assert_array_equal(as_array(again(x)), as_array(model(x)))
    assert again.layers[1].get_config() == model.layers[1].get_config()


def test_mixed_precision(unit):
    make, channels = unit
    layer = make(dtype="mixed_float16")
    y = layer(random_images(2, 6, 6, channels))

    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    inner_dtypes = {inner.layer.compute_dtype for inner in layer.inner_layers((2, 6, 6, channels))}
    assert inner_dtypes == {"float16"}


def test_training_reaches_the_batch_normalizations(unit):
    make, channels = unit
    layer = make()
    x = 3 + random_images(4, 6, 6, channels)
    layer(x, training=False)
    statistics = [w for w in layer.weights if w.name in ("moving_mean", "moving_variance")]
    before = [as_array(weight).copy() for weight in statistics]
    layer(x, training=False)
    for weight, old in zip(statistics, before, strict=True):
        np.testing.assert_array_equal(as_array(weight), old)
    layer(x, training=True)
    for weight, old in zip(statistics, before, strict=True):
        assert np.abs(as_array(weight) - old).max() > 0, weight.path


def test_channels_first_is_refused(unit):
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels_last"):
            unit[0]()
    finally:
        keras.config.set_image_data_format("channels_last")


def shuffled(x, groups):
    per_group = x.shape[-1] // groups
    order = [group * per_group + i for i in range(per_group) for group in range(groups)]
    return x[..., order]


def dense_1x1(x, layer):
    """A grouped 1x1 convolution by NumPy alone."""
    kernel = as_array(layer.kernel)[0, 0]
    groups = x.shape[-1] // kernel.shape[0]
    outputs = np.split(kernel, groups, axis=1)
    inputs = np.split(x, groups, axis=-1)
    return np.concatenate([a @ b for a, b in zip(inputs, outputs, strict=True)], axis=-1)


def normalized(x, layer):
    gamma, beta, mean, variance = (as_array(weight) for weight in layer.weights)
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def windows(x, stride, padding):
    """The 3x3 windows, zero-padded by definition: at both sides, or TensorFlow's "same"."""
    sizes = x.shape[1:3]
    pads = []
    for size in sizes:
        total = max((-(-size // stride) - 1) * stride + 3 - size, 0)
        pads.append((1, 1) if padding == "symmetric" else (total // 2, total - total // 2))
    x = np.pad(x, [(0, 0), *pads, (0, 0)])
    view = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    return view[:, ::stride, ::stride]


def depthwise(x, layer, stride, padding):
    kernel = as_array(layer.kernel)[..., 0]
    return np.einsum("nhwcij,ijc->nhwc", windows(x, stride, padding), kernel)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_v1_is_the_papers_figure_2(stride, padding):
    groups, filters = 3, 24
    channels = filters if stride == 1 else 12
    unit = ShuffleUnit(filters, groups, stride, padding)
    x = random_images(2, 6, 7, channels)
    unit(x)
    randomize(unit)

    y = np.maximum(normalized(dense_1x1(x, unit.compress), unit.compress_bn), 0)
    y = depthwise(shuffled(y, groups), unit.depthwise, stride, padding)
    y = dense_1x1(normalized(y, unit.depthwise_bn), unit.expand)
    y = normalized(y, unit.expand_bn)
    if stride == 1:
        expected = np.maximum(x + y, 0)
    else:
        sums = windows(x, 2, padding).sum(axis=(-2, -1))
        # "same" averages the pixels that exist, PyTorch's always nine.
        counts = windows(np.ones_like(x), 2, padding).sum(axis=(-2, -1))
        pooled = sums / (counts if padding == "same" else 9)
        expected = np.maximum(np.concatenate([pooled, y], axis=-1), 0)
    np.testing.assert_allclose(as_array(unit(x)), expected, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_v2_is_the_papers_figure_3(stride, padding):
    filters = 12
    channels = filters if stride == 1 else 7
    unit = ShuffleUnitV2(filters, stride, padding)
    x = random_images(2, 6, 7, channels)
    unit(x)
    randomize(unit)

    left, right = (x[..., :6], x[..., 6:]) if stride == 1 else (x, x)
    if stride == 2:
        left = depthwise(left, unit.shortcut_depthwise, 2, padding)
        left = dense_1x1(normalized(left, unit.shortcut_depthwise_bn), unit.shortcut_pointwise)
        left = np.maximum(normalized(left, unit.shortcut_pointwise_bn), 0)
    y = np.maximum(normalized(dense_1x1(right, unit.pointwise1), unit.pointwise1_bn), 0)
    y = normalized(depthwise(y, unit.depthwise, stride, padding), unit.depthwise_bn)
    y = np.maximum(normalized(dense_1x1(y, unit.pointwise2), unit.pointwise2_bn), 0)
    expected = shuffled(np.concatenate([left, y], axis=-1), 2)
    np.testing.assert_allclose(as_array(unit(x)), expected, rtol=1e-4, atol=2e-4)


def test_paddings_differ_on_even_sizes_only():
    same, symmetric = ShuffleUnitV2(12, 2, "same"), ShuffleUnitV2(12, 2, "symmetric")
    for size, equal in [(7, True), (8, False)]:
        x = random_images(1, size, size, 4)
        same(x)
        symmetric(x)
        symmetric.set_weights(same.get_weights())
        difference = np.abs(as_array(same(x)) - as_array(symmetric(x))).max()
        assert bool(difference == 0) is equal, size


@pytest.mark.parametrize(
    ("filters", "groups", "expected"),
    [(240, 3, 60), (384, 8, 96), (136, 4, 36), (50, 2, 12), (100, 2, 26), (68, 4, 16), (2, 2, 2)],
)
def test_bottleneck_is_the_nearest_multiple(filters, groups, expected):
    assert bottleneck_channels(filters, groups) == expected


def test_where_squeeze_excite_acts():
    stride1 = ShuffleUnit(32, 2, se=True)
    stride2 = ShuffleUnit(32, 2, stride=2, se=True)
    stride1.build((1, 8, 8, 32))
    stride2.build((1, 8, 8, 16))

    assert stride1.main_path()[-1] is stride1.squeeze_excite
    assert stride2.merge() == [stride2.join, stride2.squeeze_excite, stride2.relu]


def test_no_shuffle_where_there_is_nothing_to_mix_or_none_is_wanted():
    for unit in (ShuffleUnit(24, groups=1), ShuffleUnit(24, groups=3, shuffle=False)):
        unit.build((1, 8, 8, 24))
        assert unit.shuffle is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ShuffleUnit(0), "`filters`.*filters=0"),
        (lambda: ShuffleUnit(25, groups=3), "`filters` must be a multiple of groups=3.*filters=25"),
        (lambda: ShuffleUnit(24, groups=0), "`groups`.*groups=0"),
        (lambda: ShuffleUnit(24, stride=3), "`stride`.*stride=3"),
        (lambda: ShuffleUnitV2(24, stride=0), "`stride`.*stride=0"),
        (lambda: ShuffleUnitV2(23), "`filters` must be even.*filters=23"),
        (lambda: ShuffleUnitV2(24, padding="valid"), "`padding`.*padding='valid'"),
        (lambda: ShuffleUnitV2Plus(24, block="9x9"), "`block`.*block='9x9'"),
        (lambda: ShuffleUnitV2Plus(24, activation="silu"), "`activation`.*activation='silu'"),
        (lambda: ShuffleUnitV2Large(24), "`filters`.*twice the groups=8.*filters=24"),
        (lambda: ShuffleUnitV2Large(32, stride=2), "`stride` must be 1.*first=False"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("unit", "channels", "message"),
    [
        (ShuffleUnit(24), 12, "filters=24, channels=12"),
        (ShuffleUnit(24, stride=2), 24, "filters=24, channels=24"),
        (ShuffleUnit(24, stride=2), 11, "multiple of groups=3.*channels=11"),
        (ShuffleUnit(24, 4, stride=2), 6, "multiple of groups=4.*channels=6"),
        (ShuffleUnitV2(24), 12, "filters=24, channels=12"),
        (ShuffleUnitV2Plus(24), 12, "filters=24, channels=12"),
        (ShuffleUnitV2Plus(24, stride=2), 24, "must exceed.*channels=24"),
        (ShuffleUnitV2Large(32), 16, "filters=32, channels=16"),
    ],
)
def test_wrong_channels_are_named(unit, channels, message):
    with pytest.raises(ValueError, match=message):
        unit(np.zeros((1, 4, 4, channels), "float32"))


def test_megviis_first_shortcut_keeps_its_channels():
    unit = ShuffleUnitV2(116, stride=2, convention="megvii")
    y = unit(np.ones((1, 8, 8, 24), "float32"))

    assert y.shape == (1, 4, 4, 116)
    assert unit.shortcut_pointwise.filters == 24
    assert unit.pointwise2.filters == 92
    assert unit.shuffle is None
    with pytest.raises(ValueError, match=r"must exceed them.*filters=24, channels=24"):
        ShuffleUnitV2(24, stride=2, convention="megvii")(np.ones((1, 8, 8, 24), "float32"))


@pytest.mark.parametrize(
    "make", [lambda **k: ShuffleUnit(24, **k), lambda **k: ShuffleUnitV2(24, **k)]
)
def test_the_convention_is_kept_and_checked(make):
    unit = make(convention="megvii")
    assert type(unit).from_config(unit.get_config()).convention == "megvii"
    assert make().convention == "paper"
    with pytest.raises(ValueError, match="convention='caffe'"):
        make(convention="caffe")


def test_megviis_v1_shuffle_is_the_inverse():
    x = np.arange(30, dtype="float32").reshape(1, 1, 1, 30)
    units = [ShuffleUnit(120, groups=3, convention=name) for name in ("paper", "megvii")]
    for unit in units:
        unit.build((None, 4, 4, 120))
    y = units[1].shuffle(units[0].shuffle(x))

    assert np.asarray(units[1].shuffle(x)).ravel()[:3].tolist() == [0, 3, 6]
    np.testing.assert_array_equal(y, x)
