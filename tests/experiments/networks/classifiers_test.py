import keras
import pytest

from experiments.networks import classifiers
from keras_shufflenet.complexity import complexity

pytestmark = pytest.mark.medium


def macs_of(model):
    return {row.name: row.macs for row in complexity(model).rows if row.macs}


def test_alexnet():
    # Krizhevsky et al., 2012: 55, 27 and 13 positions, two groups in layers 2, 4 and 5; the dense
    # layers have 9216, 4096 and 4096 inputs. 61 million parameters.
    model = classifiers.AlexNet()
    assert macs_of(model) == {
        "conv1": 55 * 55 * 11 * 11 * 3 * 96,
        "conv2": 27 * 27 * 5 * 5 * 48 * 256,
        "conv3": 13 * 13 * 3 * 3 * 256 * 384,
        "conv4": 13 * 13 * 3 * 3 * 192 * 384,
        "conv5": 13 * 13 * 3 * 3 * 192 * 256,
        "fc6": 9216 * 4096,
        "fc7": 4096 * 4096,
        "fc8": 4096 * 1000,
    }
    assert sum(macs_of(model).values()) == 724_406_816
    assert complexity(model).parameters == 60_965_224


def test_squeezenet():
    # torchvision's squeezenet1_0 has as many parameters, and 0.819 billion multiply-adds.
    model = classifiers.SqueezeNet()
    totals = complexity(model)
    assert totals.parameters == 1_248_424
    assert totals.macs == 818_924_576
    rows = macs_of(model)
    assert rows["conv1"] == 109 * 109 * 7 * 7 * 3 * 96
    assert rows["fire4_expand3x3"] == 54 * 54 * 9 * 32 * 128
    assert rows["fire8_squeeze"] == 27 * 27 * 384 * 64
    assert rows["conv10"] == 13 * 13 * 512 * 1000


def test_googlenet():
    # Szegedy et al., 2014, Table 1: millions of operations of each module, to their rounding.
    published = {
        "conv2": 360, "3a": 128, "3b": 304, "4a": 73, "4b": 88, "4c": 100, "4d": 119, "4e": 170,
        "5b": 71, "predictions": 1,
    }  # fmt: skip
    model = classifiers.GoogLeNet()
    rows = macs_of(model)
    for module, millions in published.items():
        found = sum(macs for name, macs in rows.items() if module in name)
        assert found / 1e6 == pytest.approx(millions, abs=1), module
    # Two rows of the table do not agree with its own widths: 34 million for the first layer, and
    # 54 million for module 5a.
    assert rows["conv1"] == 112 * 112 * 7 * 7 * 3 * 64
    pointwise = 832 * (256 + 160 + 32 + 128)
    expanded = 9 * 160 * 320 + 25 * 32 * 128
    assert sum(v for k, v in rows.items() if "5a" in k) == 7 * 7 * (pointwise + expanded)
    # As many as BVLC's bvlc_googlenet has without its auxiliary classifiers.
    assert complexity(model).parameters == 6_998_552


@pytest.mark.slow  # 138 million random numbers
def test_vgg16():
    totals = complexity(classifiers.VGG16())
    # Simonyan and Zisserman, 2014, Table 2: 138 million; V1 Table 6: 15,300 million multiply-adds.
    assert totals.parameters == 138_357_544
    assert totals.macs == 15_470_264_320


def test_larger_images_have_more_positions_and_the_same_weights():
    small, large = classifiers.SqueezeNet(), classifiers.SqueezeNet((480, 640, 3))
    assert [w.shape for w in small.weights] == [w.shape for w in large.weights]
    assert large.output_shape == (None, 1000)
    assert large.get_layer("conv10").output.shape == (None, 29, 39, 1000)


def test_dense_layers_as_convolutions_are_dense_layers():
    x = keras.Input((6, 6, 4))
    convolution = keras.Model(x, classifiers._convolve(x, 5, 6, "fc", padding="valid"))
    image = keras.random.normal((1, 6, 6, 4), seed=0)
    kernel, bias = (weight.numpy() for weight in convolution.weights)
    dense = image.numpy().reshape(1, -1) @ kernel.reshape(-1, 5) + bias
    found = convolution(image).numpy()[0, 0, 0]
    assert found == pytest.approx(dense.clip(0)[0], abs=1e-5)
