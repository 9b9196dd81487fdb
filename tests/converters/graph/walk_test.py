"""Any functional model: layers one by one, random small networks, networks of others."""

from collections import Counter

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.cli import UserError
from converters.graph.deployment import deployment_graph
from converters.graph.emitter import emit
from converters.graph.rules import registry
from keras_shufflenet import ChannelShuffle, ChannelSplit, SqueezeExcite
from keras_shufflenet.keras_internals import flat_layers

L = keras.layers
# A share of the outputs' standard deviation.
BOUND = 1e-4
SHAPE = (12, 10, 8)


def randomize(model, seed=0):
    """Gives every weight a value that a fresh layer does not have."""
    rng = np.random.default_rng(seed)
    for layer in flat_layers(model):
        if isinstance(layer, L.BatchNormalization):
            positive = (layer.gamma, layer.moving_variance)
            for variable in layer.weights:
                low = 0.5 if any(variable is one for one in positive) else -0.5
                variable.assign(rng.uniform(low, 1.5, variable.shape))
        elif isinstance(layer, L.Normalization):
            continue
        else:
            for variable in layer.weights:
                if len(variable.shape) == 1 or isinstance(layer, L.PReLU):
                    variable.assign(rng.normal(0, 0.3, variable.shape))
    return model


def errors(model, target="cpu", seed=0):
    """Returns each output's largest error, as a share of its standard deviation."""
    rng = np.random.default_rng(seed)
    images = [rng.normal(size=(2, *x.shape[1:])).astype(np.float32) for x in model.inputs]
    images = images[0] if len(images) == 1 else images
    # Without it, layers after a Resizing take the call for a step of training.
    expected = model(images, training=False)
    found = emit(deployment_graph(model, target))(images)
    if len(model.outputs) == 1:
        expected, found = [expected], [found]
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(expected, found, strict=True)]
    assert all(theirs.shape == mine.shape for theirs, mine in pairs)
    return [np.abs(theirs - mine).max() / theirs.std() for theirs, mine in pairs]


def network(*layers, shape=SHAPE):
    """A model of these layers after a convolution, so that each has something to follow."""
    x = image = keras.Input(shape)
    x = L.Conv2D(shape[-1], 3, padding="same", name="first")(x)
    for layer in layers:
        x = layer(x)
    return randomize(keras.Model(image, x))


def normalization():
    layer = L.Normalization()
    layer.adapt(np.random.default_rng(0).normal(3, 2, (50, *SHAPE)))
    return layer


LAYERS = {
    "conv": lambda: L.Conv2D(6, (3, 5), strides=(2, 1), padding="same", activation="relu"),
    "conv valid": lambda: L.Conv2D(6, 4, strides=2, activation="silu"),
    "conv dilated": lambda: L.Conv2D(6, 3, dilation_rate=2, padding="same"),
    "conv grouped": lambda: L.Conv2D(12, 3, groups=4, padding="same", activation="relu6"),
    "conv without bias": lambda: L.Conv2D(6, 1, use_bias=False, activation="hard_silu"),
    "depthwise": lambda: L.DepthwiseConv2D(3, 2, padding="same", activation="relu6"),
    "depthwise multiplier": lambda: L.DepthwiseConv2D(3, depth_multiplier=3),
    "depthwise dilated": lambda: L.DepthwiseConv2D(3, dilation_rate=2, padding="same"),
    "separable": lambda: L.SeparableConv2D(5, 3, depth_multiplier=2, activation="tanh"),
    "transposed": lambda: L.Conv2DTranspose(5, 3, strides=2, padding="same", activation="relu"),
    "transposed valid": lambda: L.Conv2DTranspose(5, 4, strides=2),
    "dense on pixels": lambda: L.Dense(7, activation="sigmoid"),
    "batch norm": lambda: L.BatchNormalization(),
    "batch norm plain": lambda: L.BatchNormalization(scale=False, center=False),
    "relu": lambda: L.ReLU(),
    "relu6": lambda: L.ReLU(6.0),
    "sloping relu": lambda: L.ReLU(negative_slope=0.1),
    "leaky relu": lambda: L.LeakyReLU(0.3),
    "leaky relu by name": lambda: L.Activation("leaky_relu"),
    "prelu": lambda: L.PReLU(shared_axes=[1, 2]),
    "elu": lambda: L.ELU(),
    "hard sigmoid": lambda: L.Activation("hard_sigmoid"),
    "hard swish": lambda: L.Activation("hard_swish"),
    "gelu": lambda: L.Activation("gelu"),
    "softmax": lambda: L.Softmax(),
    "softmax by name": lambda: L.Activation("softmax"),
    "max pool": lambda: L.MaxPooling2D((2, 3), strides=2, padding="same"),
    "average pool": lambda: L.AveragePooling2D(2),
    "average pool same": lambda: L.AveragePooling2D(3, strides=1, padding="same"),
    "average pool of ShuffleNets": lambda: L.AveragePooling2D(3, strides=2, padding="same"),
    "global average": lambda: L.GlobalAveragePooling2D(),
    "global max": lambda: L.GlobalMaxPooling2D(keepdims=True),
    "pad": lambda: L.ZeroPadding2D(((1, 2), (0, 3))),
    "crop": lambda: L.Cropping2D(((1, 2), (0, 3))),
    "upsample": lambda: L.UpSampling2D((2, 3)),
    "upsample bilinear": lambda: L.UpSampling2D(2, interpolation="bilinear"),
    "resize": lambda: L.Resizing(7, 9),
    "flatten": lambda: L.Flatten(),
    "reshape": lambda: L.Reshape((-1, 8)),
    "reshape channels": lambda: L.Reshape((6, 20, -1)),
    "permute": lambda: L.Permute((2, 1, 3)),
    "permute channels": lambda: L.Permute((3, 1, 2)),
    "rescaling": lambda: L.Rescaling(1 / 127.5, -1),
    "rescaling by channel": lambda: L.Rescaling([0.5 + i for i in range(8)], offset=2.0),
    "normalization": normalization,
    "dropout": lambda: L.SpatialDropout2D(0.5),
    "noise": lambda: L.GaussianNoise(1.0),
    "flip": lambda: L.RandomFlip(),
    "shuffle": lambda: ChannelShuffle(4),
    "squeeze and excite": lambda: SqueezeExcite(2),
}


@pytest.mark.medium
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_equal_alone_and_among_others(name):
    shuffled = [ChannelShuffle(2), LAYERS[name]()]
    alone = keras.Sequential([keras.Input(SHAPE), LAYERS[name]()])
    assert max(errors(randomize(alone))) <= BOUND
    assert max(errors(network(*shuffled))) <= BOUND
    if len(shuffled[-1].output.shape) == 4:
        channels = shuffled[-1].output.shape[-1]
        after = [L.BatchNormalization(), L.ReLU(), L.Conv2D(3, 3, padding="same")]
        assert max(errors(network(ChannelShuffle(2), LAYERS[name](), *after))) <= BOUND, channels


MERGES = {
    "add": lambda x, y: L.Add()([x, y, x]),
    "subtract": lambda x, y: L.Subtract()([x, y]),
    "multiply": lambda x, y: L.Multiply()([x, y]),
    "maximum": lambda x, y: L.Maximum()([x, y]),
    "minimum": lambda x, y: L.Minimum()([x, y]),
    "average": lambda x, y: L.Average()([x, y]),
    "concatenate": lambda x, y: L.Concatenate()([x, y, x]),
    "concatenate rows": lambda x, y: L.Concatenate(axis=1)([x, y]),
    "gate": lambda x, y: L.Multiply()([x, L.GlobalAveragePooling2D(keepdims=True)(y)]),
    "one channel": lambda x, y: x * L.Conv2D(1, 1, activation="sigmoid")(y),
    "operators": lambda x, y: (2.0 - x * 3.0) / 4.0 + y - 1.0,
    "functions": lambda x, y: keras.ops.concatenate([keras.ops.silu(x), keras.ops.relu6(y)], -1),
}


@pytest.mark.medium
@pytest.mark.parametrize("name", MERGES)
def test_tensors_in_different_orders_meet(name):
    image = keras.Input(SHAPE)
    x = L.Conv2D(8, 1)(image)
    y = ChannelShuffle(4)(L.DepthwiseConv2D(3, padding="same")(x))
    merged = MERGES[name](x, y)
    model = randomize(keras.Model(image, [merged, L.Conv2D(3, 1)(merged)]))
    assert max(errors(model)) <= BOUND


def test_halves_of_a_split_that_no_unit_takes():
    image = keras.Input(SHAPE)
    left, right = ChannelSplit()(image)
    even, odd = ChannelSplit(interleaved=True)(image)
    model = keras.Model(image, [L.Add()([left, odd]), L.Concatenate()([right, even])])
    assert max(errors(model)) <= BOUND


def test_batch_normalization_and_activations_cost_no_operator():
    layers = [L.Conv2D(4, 3), L.BatchNormalization(), L.ReLU(6.0), L.Dropout(0.5)]
    graph = deployment_graph(network(L.Rescaling(2.0), L.BatchNormalization(), *layers))
    assert [op.kind for op in graph.ops.values()] == ["input", "conv", "conv"]
    assert graph.ops[graph.output].activation == "relu6"


def test_a_normalization_before_zeros_stays_an_operator():
    """A summand would have to be in the border, too."""
    image = keras.Input(SHAPE)
    outputs = L.Conv2D(3, 3, padding="same")(L.Rescaling(1 / 127.5, -1)(image))
    model = keras.Model(image, outputs)
    kinds = [op.kind for op in deployment_graph(model).ops.values()]
    assert kinds == ["input", "depthwise", "conv"] and max(errors(model)) <= BOUND


def test_factors_pass_a_border_of_zeros():
    scales = L.Rescaling([0.5, 2.0, 3.0], name="scales")
    conv = L.Conv2D(4, 3, strides=2, name="conv")
    image = keras.Input((9, 9, 3))
    padded = L.ZeroPadding2D(((0, 1), (0, 1)), name="border")(scales(image))
    for outputs in ([conv(padded)], [conv(padded), padded]):
        model = keras.Model(image, outputs)
        operators = list(deployment_graph(model).ops.values())
        # Where both are outputs, the factors are needed before the convolution, too.
        expected = ["pad", "conv"] if len(outputs) == 1 else ["pad", "depthwise", "conv"]
        assert [op.kind for op in operators] == ["input", *expected]
        assert max(errors(model)) <= BOUND


def test_nested_models_and_several_inputs():
    inner = keras.Sequential(
        [keras.Input(SHAPE), L.Conv2D(6, 3), L.BatchNormalization()], name="in"
    )
    one, two = keras.Input(SHAPE, name="one"), keras.Input(SHAPE, name="two")
    x = L.Concatenate()([inner(one), inner(two)])
    nested = keras.Model([one, two], [L.Dense(3)(L.GlobalMaxPooling2D()(x)), x], name="nested")
    again = keras.Model([one, two], nested([one, two]))
    assert max(errors(randomize(nested))) <= BOUND
    assert max(errors(randomize(again))) <= BOUND


def test_a_head_on_several_levels_is_in_the_graph_once():
    image = keras.Input(SHAPE)
    head = L.Conv2D(5, 1, name="head_of_all")
    levels = [L.Conv2D(8, 3, strides=2, padding="same", name="a")(image), L.Conv2D(8, 3)(image)]
    model = keras.Model(image, [head(level) for level in levels])
    graph = deployment_graph(model)
    assert graph.ops["head_of_all_call2"].shares == "head_of_all"
    assert max(errors(model)) <= BOUND
    emitted = emit(graph)
    assert len([layer for layer in emitted.layers if layer.name.startswith("head_of_all")]) == 1


def test_own_normalizations_of_a_shared_head_are_not_shared():
    image = keras.Input(SHAPE)
    head = L.Conv2D(5, 1, name="shared")
    outputs = [L.BatchNormalization()(head(x)) for x in (image, L.MaxPooling2D()(image))]
    model = randomize(keras.Model(image, outputs))
    assert deployment_graph(model).ops["shared_call2"].shares is None
    assert max(errors(model)) <= BOUND


KINDS = st.sampled_from([name for name in LAYERS if name not in ("flatten", "permute channels")])


@st.composite
def random_networks(draw):
    """Layers in a row, with branches that leave it and come back."""
    x = image = keras.Input(SHAPE)
    for _ in range(draw(st.integers(1, 5))):
        before = x
        if len(x.shape) != 4 or min(x.shape[1:3]) < 6 or x.shape[-1] % 8:
            break
        x = LAYERS[draw(KINDS)]()(x) if x.shape[-1] == 8 else L.Conv2D(8, 1)(x)
        if x.shape == before.shape and draw(st.booleans()):
            x = draw(st.sampled_from([L.Add, L.Multiply, L.Maximum]))()([before, x])
        elif len(x.shape) == 4 and draw(st.booleans()):
            x = L.Concatenate()([x, ChannelShuffle(1)(x)])
    return randomize(keras.Model(image, x), draw(st.integers(0, 99)))


FEW = settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.mark.medium
@FEW
@given(random_networks(), st.sampled_from(["cpu", "micro", "edgetpu", "ethosu"]))
def test_random_networks_are_equal(model, target):
    assert max(errors(model, target)) <= BOUND


@pytest.mark.slow
@settings(FEW, max_examples=100)
@given(random_networks(), st.sampled_from(["cpu", "micro", "edgetpu", "ethosu"]))
def test_many_random_networks_are_equal(model, target):
    assert max(errors(model, target)) <= BOUND


# Name in keras.applications and side of the images in pixels.
APPLICATIONS = {
    "MobileNet": 64,
    "MobileNetV2": 64,
    "MobileNetV3Small": 64,
    "MobileNetV3Large": 64,
    "EfficientNetB0": 64,
    "ResNet50": 64,
    "DenseNet121": 64,
    "NASNetMobile": 224,
    "Xception": 96,
    "InceptionV3": 96,
    "VGG16": 32,
}


def application(name):
    side = APPLICATIONS[name]
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(side, side, 3), classes=10)
    return randomize(model)


def check_application(name):
    model = application(name)
    graph = deployment_graph(model)
    assert max(errors(model)) <= BOUND
    return Counter(op.kind for op in graph.ops.values())


@pytest.mark.medium
def test_mobilenet_v3_is_equal():
    assert check_application("MobileNetV3Small")["hard_swish"] == 19


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_networks_of_keras_applications_are_equal(name):
    check_application(name)


def test_a_name_that_tensorflow_refuses_is_named():
    with pytest.raises(UserError, match=r"has a layer of the name 'my relu'"):
        deployment_graph(network(L.ReLU(name="my relu")))


def test_a_layer_without_a_rule_is_named():
    model = network(L.LayerNormalization(name="mine"))
    with pytest.raises(UserError, match=r"'mine' of class LayerNormalization.*register_rule"):
        deployment_graph(model)


def test_a_lambda_is_named():
    model = network(L.Lambda(lambda x: x + 1, name="secret"))
    with pytest.raises(UserError, match=r"'secret' of class Lambda"):
        deployment_graph(model)


def test_a_layer_derived_from_one_with_a_rule_needs_its_own():
    class Negated(L.ReLU):
        def call(self, inputs):
            return -super().call(inputs)

    with pytest.raises(UserError, match="of class Negated"):
        deployment_graph(network(Negated()))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: L.ReLU(4.0), "max_value=4"),
        (lambda: L.Softmax(axis=1), "axis=1"),
        (lambda: L.PReLU(), "shared_axes"),
        (lambda: L.BatchNormalization(axis=1), "axis=1"),
        (lambda: L.Activation("softplus"), "softplus"),
        (lambda: L.Activation(lambda x: x), "is not one of Keras's"),
        (lambda: L.Resizing(4, 4, interpolation="bicubic"), "bicubic"),
        (lambda: lambda x: keras.ops.softmax(x, axis=1), "axis=1"),
        (lambda: lambda x: keras.ops.elu(x, alpha=0.5), r"alpha=0\.5"),
        (lambda: L.GlobalAveragePooling2D(data_format="channels_first"), "channels last"),
        (lambda: L.MaxPooling2D(data_format="channels_first"), "channels last"),
        (lambda: L.AveragePooling2D(2, data_format="channels_first"), "channels last"),
        (lambda: L.ZeroPadding2D(data_format="channels_first"), "channels last"),
        (lambda: L.Cropping2D(data_format="channels_first"), "channels last"),
        (lambda: L.UpSampling2D(data_format="channels_first"), "channels last"),
        (lambda: L.Flatten(data_format="channels_first"), "channels last"),
    ],
)
def test_settings_without_an_operator_are_named(layer, reason):
    with pytest.raises(UserError, match=f"cannot be rewritten: .*{reason}"):
        deployment_graph(network(layer()))


def test_constants_that_give_a_tensor_another_shape_are_named():
    one_channel, vector = keras.Input((6, 6, 1)), keras.Input((4,))
    models = [
        keras.Model(one_channel, L.Rescaling([1.0, 2.0, 3.0])(one_channel)),
        keras.Model(one_channel, one_channel * np.ones(4, np.float32)),
        keras.Model(vector, vector * np.ones((1, 1, 4), np.float32)),
    ]
    for model in models:
        with pytest.raises(UserError, match="another shape"):
            deployment_graph(model)


def test_layers_that_keras_has_quantized_are_named():
    model = network(L.Flatten(), L.Dense(3, name="last"))
    model.get_layer("last").quantize("int8")
    with pytest.raises(UserError, match=r"'last' of model .* was quantized by Keras"):
        deployment_graph(model)


def test_a_nested_model_that_is_called_with_a_dict_picks_its_inputs_by_name():
    second, first = keras.Input((8,), name="second"), keras.Input((8,), name="first")
    inner = keras.Model([second, first], L.Dense(3)(first) - L.Dense(3)(second) * 2.0)
    one, two = keras.Input((8,)), keras.Input((8,))
    model = keras.Model([one, two], inner({"first": one, "second": two}))
    assert max(errors(model)) <= BOUND


def test_layers_may_have_the_names_of_parts_of_others():
    image = keras.Input(SHAPE)
    shared = L.Conv2D(8, 1, name="shared")
    x = L.Conv2D(8, 1, name="shared_call2")(shared(image))
    x = L.PReLU(shared_axes=[1, 2], name="curve")(shared(x))
    x = L.Conv2D(8, 1, name="image", activation="relu")(L.ReLU(name="curve_positive")(x))
    model = randomize(keras.Model(image, L.Activation("tanh", name="image_activation")(x)))
    assert max(errors(model)) <= BOUND
    vector = keras.Input((8,))
    x = L.ReLU()(L.BatchNormalization(name="norm")(vector))
    model = randomize(keras.Model(vector, L.Dense(3, name="norm_conv")(x)))
    assert max(errors(model)) <= BOUND


def test_a_subclassed_model_is_refused():
    class Mine(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(UserError, match="of class Mine has no graph of layers"):
        deployment_graph(Mine())


def test_weights_that_are_not_finite_are_named():
    model = network(L.Dense(3, name="last"))
    model.get_layer("last").bias.assign([0, np.nan, 1])
    with pytest.raises(UserError, match=r"last/bias.*NaN"):
        deployment_graph(model)


def test_a_rule_of_one_s_own(monkeypatch):
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))

    class Twice(L.Layer):
        def call(self, inputs):
            return inputs * 2

    def twice(call):
        return call.graph.affine(call.x, call.name, scale=2, shift=0)

    registry.register_rule(Twice, twice)
    model = network(Twice())
    assert len(deployment_graph(model).ops) == 2 and max(errors(model)) <= BOUND
    with pytest.raises(TypeError, match="must be a class"):
        registry.register_rule("Twice", twice)
