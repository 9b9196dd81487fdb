import keras
import pytest

from keras_shufflenet import ShuffleNetV2
from trainers.training_graph import linear_segments


def names(model):
    return [
        [layer.name for layer in ([segment.merge] if segment.merge else []) + segment.layers]
        for segment in linear_segments.split(model)
    ]


def residual():
    image = keras.Input((8, 8, 3), name="image")
    stem = keras.layers.Conv2D(4, 3, padding="same", name="stem")(image)
    x = keras.layers.BatchNormalization(name="norm")(stem)
    x = keras.layers.ReLU(name="relu")(x)
    first = keras.layers.Add(name="add1")([stem, x])
    x = keras.layers.Conv2D(4, 1, name="conv")(first)
    x = keras.layers.Add(name="add2")([first, x])
    return keras.Model(image, keras.layers.Flatten(name="flat")(x))


def test_a_shufflenet_is_one_segment():
    model = ShuffleNetV2(0.5, input_shape=(32, 32, 3), weights=None)
    assert names(model) == [[layer.name for layer in model.layers[1:]]]


def test_segments_end_at_branches_and_at_merges():
    assert names(residual()) == [
        ["stem"],
        ["norm", "relu"],
        ["add1"],
        ["conv"],
        ["add2", "flat"],
    ]


def test_each_segment_comes_after_the_segments_that_it_uses():
    model = residual()
    made = {linear_segments.key_of_images(model)}
    for segment in linear_segments.split(model):
        assert made.issuperset(segment.inputs)
        made.add(segment.output)
    assert id(model.output) in made


class Doubled(keras.layers.Conv2D):
    def call(self, x):
        return 2 * super().call(x)


def shared(x):
    layer = keras.layers.BatchNormalization()
    return layer(layer(x))


def test_a_layer_may_be_called_again():
    image = keras.Input((8, 8, 3))
    conv, pool = keras.layers.Conv2D(3, 1, name="conv"), keras.layers.MaxPooling2D(name="pool")
    add = keras.layers.Add(name="add")([pool(conv(image)), conv(pool(image))])
    assert sorted(names(keras.Model(image, add))) == [["add"], ["conv", "pool"], ["pool", "conv"]]


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(Doubled(3, 1), id="a subclass that computes something else"),
        pytest.param(shared, id="statistics of two calls"),
        pytest.param(lambda x: keras.layers.Dropout(0.5)(x, training=False), id="an argument"),
        pytest.param(lambda x: keras.ops.relu(x), id="an operation that is not a layer"),
        pytest.param(keras.layers.Conv2D(3, 1, trainable=False), id="a frozen layer"),
        pytest.param(
            keras.layers.Conv2D(3, 1, activity_regularizer="l1"), id="a loss of its activations"
        ),
        pytest.param(
            keras.layers.ActivityRegularization(l1=1.0), id="a layer that only adds a loss"
        ),
        pytest.param(lambda x: [x, keras.layers.ReLU()(x)], id="two outputs"),
        pytest.param(lambda x: keras.layers.Dot((1, 1))([x, x]), id="an unknown merge"),
        pytest.param(
            keras.layers.MaxPooling2D(data_format="channels_first"), id="another order of axes"
        ),
    ],
)
def test_other_models_have_no_segments(network):
    image = keras.Input((8, 8, 3))
    assert linear_segments.split(keras.Model(image, network(image))) == []


def test_a_subclassed_model_has_no_segments():
    assert linear_segments.split(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])) == []

    class Own(keras.Model):
        def call(self, x):
            return x

    assert linear_segments.split(Own()) == []
