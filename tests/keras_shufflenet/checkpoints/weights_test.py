import keras
import numpy as np
import pytest

from keras_shufflenet import ShuffleNetV1, ShuffleNetV2, preprocessing_of
from keras_shufflenet.checkpoints import weights
from keras_shufflenet.checkpoints.files import read_tensors, write_tensors
from keras_shufflenet.checkpoints.names import FORMATS, recognize
from keras_shufflenet.checkpoints.weights import Checkpoint, torchvision_tensors


@pytest.fixture(scope="module")
def ours(randomize):
    """A network that torchvision has too."""
    return randomize(
        ShuffleNetV2(0.5, classes=7, input_shape=(64, 64, 3), padding="symmetric"), seed=1
    )


@pytest.fixture(scope="module")
def tensors(ours):
    return torchvision_tensors(ours)


@pytest.fixture
def another(ours):
    return keras.models.clone_model(ours)


def load(path, tensors, make=ShuffleNetV2, **arguments):
    write_tensors(path, tensors)
    arguments = {"classes": 7, "input_shape": (64, 64, 3), **arguments}
    return make(0.5, weights=path, **arguments)


def assert_equal_weights(found, expected, but=()):
    for weight, wanted in zip(found.weights, expected.weights, strict=True):
        if weight.path not in but:
            np.testing.assert_array_equal(weight.numpy(), wanted.numpy(), err_msg=weight.path)


def test_torchvision_names_and_shapes(tensors):
    # From torchvision/models/shufflenetv2.py, stages of 48, 96 and 192 channels.
    assert list(tensors)[:6] == [
        "conv1.0.weight",
        "conv1.1.weight",
        "conv1.1.bias",
        "conv1.1.running_mean",
        "conv1.1.running_var",
        "conv1.1.num_batches_tracked",
    ]
    shapes = {
        "conv1.0.weight": (24, 3, 3, 3),
        "stage2.0.branch1.0.weight": (24, 1, 3, 3),
        "stage2.0.branch1.2.weight": (24, 24, 1, 1),
        "stage3.0.branch2.0.weight": (48, 48, 1, 1),
        "stage3.7.branch2.3.weight": (48, 1, 3, 3),
        "stage4.3.branch2.6.running_var": (96,),
        "conv5.0.weight": (1024, 192, 1, 1),
        "fc.weight": (7, 1024),
        "fc.bias": (7,),
    }
    assert {key: tensors[key].shape for key in shapes} == shapes
    # 56 convolutions, as many BatchNorms with five entries each, and the classifier.
    assert len(tensors) == 56 * 6 + 2


def test_there_and_back_is_exact(ours, tensors, tmp_path):
    again = load(tmp_path / "a.npz", tensors)
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")

    assert_equal_weights(again, ours)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(again(x)), keras.ops.convert_to_numpy(ours(x))
    )
    for key, tensor in torchvision_tensors(again).items():
        np.testing.assert_array_equal(tensor, tensors[key], err_msg=key)


def test_the_network_gets_the_settings_of_its_weights(tensors, tmp_path):
    model = load(tmp_path / "a.npz", tensors)

    assert preprocessing_of(model) == "torch"
    assert model.get_layer("stage2_unit1").padding == "symmetric"
    assert model.get_layer("stage2_unit1").convention == "paper"


@pytest.mark.parametrize("setting", ["padding", "convention", "preprocessing"])
def test_other_settings_are_refused(setting, tensors, tmp_path):
    wrong = {"padding": "same", "convention": "megvii", "preprocessing": "tf"}[setting]
    with pytest.raises(ValueError, match=rf"`{setting}` must be .*wrong results.*{wrong!r}"):
        load(tmp_path / "a.npz", tensors, **{setting: wrong})


def test_other_classes_leave_the_classifier_random(ours, tensors, tmp_path):
    head = ("predictions/kernel", "predictions/bias")
    model = load(tmp_path / "a.npz", tensors, classes=3)

    assert_equal_weights(model, ours, but=head)
    assert model.get_layer("predictions").kernel.shape == (1024, 3)
    assert keras.ops.convert_to_numpy(model.get_layer("predictions").bias).tolist() == [0, 0, 0]


def test_without_a_classifier(ours, tensors, tmp_path):
    features = load(tmp_path / "a.npz", tensors, include_top=False, pooling="avg")
    for weight, wanted in zip(features.weights, ours.weights[:-2], strict=True):
        np.testing.assert_array_equal(weight.numpy(), wanted.numpy(), err_msg=weight.path)


def damage(tensors, **changes):
    changed = dict(tensors)
    for key, change in changes.items():
        changed[key] = change(changed[key].copy())
    return changed


def with_value(value):
    def change(array):
        array.flat[-1] = value
        return array

    return change


BODY = "stage3.2.branch2.3.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {**t, "stage3.8.branch2.0.weight": t[BODY]}, r"'stage3\.8\.branch2\.0\.weight'"),
        (lambda t: {**t, "auxiliary": t[BODY]}, "key 'auxiliary' has no place"),
        (lambda t: {k: v for k, v in t.items() if k != BODY}, rf"has no '{BODY}'"),
        (lambda t: {k: v for k, v in t.items() if k != "fc.bias"}, r"has no 'fc\.bias'"),
        (lambda t: {k: v for k, v in t.items() if k[:2] != "fc"}, r"has no 'fc\.weight'"),
        (lambda t: damage(t, **{BODY: lambda a: a[:47]}), r"\(47, 1, 3, 3\) instead of \(48, 1"),
        (lambda t: damage(t, **{BODY: lambda a: a[0]}), rf"'{BODY}' has 3 dimensions instead of 4"),
        (lambda t: damage(t, **{BODY: with_value(np.nan)}), rf"damaged: '{BODY}' .*non-finite"),
        (lambda t: damage(t, **{BODY: with_value(np.inf)}), rf"damaged: '{BODY}'"),
        (
            lambda t: damage(t, **{"conv5.1.running_var": with_value(-1.0)}),
            r"damaged: 'conv5\.1\.running_var'",
        ),
        (lambda t: damage(t, **{BODY: lambda a: a.astype("int8")}), rf"'{BODY}' is int8, not a"),
        (lambda t: damage(t, **{"fc.weight": lambda a: a[:, :5]}), r"'fc\.weight' has the shape"),
    ],
)
def test_what_does_not_fit_is_named_and_loads_nothing(change, message, another, tensors):
    before = [weight.numpy().copy() for weight in another.weights]
    bad = change(tensors)
    with pytest.raises(ValueError, match=message) as caught:
        weights.load(another, Checkpoint("a.npz", recognize(bad, "a.npz"), bad))

    assert "a.npz" in str(caught.value) and "\n" not in str(caught.value)
    for weight, old in zip(another.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old, err_msg=weight.path)


def test_other_scales_and_networks_are_refused(tensors, tmp_path):
    path = tmp_path / "a.npz"
    write_tensors(path, tensors)
    with pytest.raises(ValueError, match=r"'stage2\.0\.branch1\.2\.weight' has the shape"):
        ShuffleNetV2(1.0, weights=path, input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match=r"`preprocessing`='torch' is for 3 channels.*of 1"):
        ShuffleNetV2(0.5, weights=path, input_shape=(32, 32, 1))
    with pytest.raises(ValueError, match="torchvision's ShuffleNetV2, not a shufflenet_v1"):
        ShuffleNetV1(0.5, weights=path, input_shape=(32, 32, 3))


def test_unknown_checkpoints_are_refused_by_their_first_key(tmp_path):
    write_tensors(tmp_path / "a.npz", {"layer1.0.conv1.weight": np.zeros((1, 1, 1, 1))})
    with pytest.raises(ValueError, match=r"a\.npz' is none of .*first key is 'layer1\.0\.conv1"):
        ShuffleNetV2(0.5, weights=tmp_path / "a.npz")


def test_only_torchvisions_network_goes_back(ours):
    small = {"classes": 3, "input_shape": (32, 32, 3)}
    others = {
        "padding='symmetric'": ShuffleNetV2(0.5, **small),
        "convention='paper'": ShuffleNetV2(0.5, padding="symmetric", convention="megvii", **small),
        "include_top=True": ShuffleNetV2(
            0.5, padding="symmetric", include_top=False, input_shape=(32, 32, 3)
        ),
        "small_images=False": ShuffleNetV2(0.5, padding="symmetric", small_images=True, **small),
        "ShuffleNetV2 only": ShuffleNetV1(0.5, padding="symmetric", **small),
    }
    for reason, model in others.items():
        with pytest.raises(ValueError, match=reason):
            torchvision_tensors(model)


# Megvii's two networks, written down a second time from their code, with their order of channels:
# blocks.py and network.py of github.com/megvii-model/ShuffleNet-Series. NHWC.


def convolve(tensors, key, x, stride=1, depthwise=False, groups=1):
    kernel = tensors[f"{key}.weight"]
    pad = kernel.shape[-1] // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    if depthwise:
        kernel = kernel.transpose(2, 3, 0, 1)
        return keras.ops.convert_to_numpy(keras.ops.depthwise_conv(x, kernel, stride))
    parts = [
        keras.ops.convert_to_numpy(keras.ops.conv(part, part_kernel.transpose(2, 3, 1, 0), stride))
        for part, part_kernel in zip(np.split(x, groups, -1), np.split(kernel, groups), strict=True)
    ]
    return np.concatenate(parts, -1)


def normalize(tensors, key, x):
    weight, bias, mean, variance = (
        tensors[f"{key}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


def relu(x):
    return np.maximum(x, 0)


def pool(x, kind):
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return keras.ops.convert_to_numpy(getattr(keras.ops, f"{kind}_pool")(x, 3, 2))


def sequence(tensors, prefix, x, steps, stride=1, groups=(1,)):
    """Runs an nn.Sequential: "p" is a 1x1 convolution, "d" a depthwise one, "n" norm, "r" ReLU."""
    groups = iter(groups)
    for index, step in enumerate(steps):
        key = f"{prefix}.{index}"
        if step == "p":
            x = convolve(tensors, key, x, groups=next(groups, 1))
        elif step == "d":
            x = convolve(tensors, key, x, stride, depthwise=True)
        else:
            x = normalize(tensors, key, x) if step == "n" else relu(x)
    return x


def stem_of(tensors, x):
    x = convolve(tensors, "first_conv.0", x, 2)
    return pool(relu(normalize(tensors, "first_conv.1", x)), "max")


def megvii_v2(tensors, x):
    x = stem_of(tensors, x)
    for index in range(16):
        key = f"features.{index}"
        if f"{key}.branch_proj.0.weight" in tensors:
            left = sequence(tensors, f"{key}.branch_proj", x, "dnpnr", 2)
            right = sequence(tensors, f"{key}.branch_main", x, "pnrdnpnr", 2)
        else:
            left = x[..., 0::2]
            right = sequence(tensors, f"{key}.branch_main", x[..., 1::2], "pnrdnpnr")
        x = np.concatenate([left, right], -1)
    x = sequence(tensors, "conv_last", x, "pnr")
    return x.mean((1, 2)) @ tensors["classifier.0.weight"].T


def megvii_v1(tensors, x, groups):
    x = stem_of(tensors, x)
    for index in range(16):
        key, stride = f"features.{index}", 2 if index in (0, 4, 12) else 1
        first = 1 if index == 0 else groups
        y = sequence(tensors, f"{key}.branch_main_1", x, "pnrdn", stride, (first,))
        shape = y.shape
        y = y.reshape(*shape[:3], shape[3] // groups, groups).swapaxes(3, 4).reshape(shape)
        y = sequence(tensors, f"{key}.branch_main_2", y, "pn", 1, (groups,))
        x = relu(x + y) if stride == 1 else np.concatenate([pool(x, "average"), relu(y)], -1)
    return x.mean((1, 2)) @ tensors["classifier.0.weight"].T


def random_tensors(shapes):
    generator = np.random.default_rng(0)
    tensors = {}
    for key, shape in shapes.items():
        if len(shape) > 1:
            deviation = np.sqrt(2 / np.prod(shape[1:]))
            tensors[key] = generator.normal(0, deviation, shape)
        elif key.endswith(("weight", "running_var")):
            tensors[key] = generator.uniform(0.5, 1.5, shape)
        else:
            tensors[key] = generator.normal(0, 0.1, shape)
        tensors[key] = tensors[key].astype("float32")
    return tensors


def with_norm(shapes, key, norm, channels):
    for name in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"{norm}.{name}"] = (channels,)
    shapes[f"{norm}.num_batches_tracked"] = ()
    return shapes


def megvii_shapes(stem, stages, classes, head=None, groups=None):
    """Returns the shapes of all tensors, from the two network.py."""
    shapes = {}

    def convolution(key, index, shape):
        shapes[f"{key}.{index}.weight"] = shape
        with_norm(shapes, key, f"{key}.{index + 1}", shape[0])

    convolution("first_conv", 0, (stem, 3, 3, 3))
    before = stem
    for index in range(16):
        key, first = f"features.{index}", index in (0, 4, 12)
        channels = stages[0 if index < 4 else 1 if index < 12 else 2]
        if groups is None:
            half = channels // 2
            convolution(f"{key}.branch_main", 0, (half, before if first else half, 1, 1))
            convolution(f"{key}.branch_main", 3, (half, 1, 3, 3))
            rest = channels - before if first else half
            convolution(f"{key}.branch_main", 5, (rest, half, 1, 1))
            if first:
                convolution(f"{key}.branch_proj", 0, (before, 1, 3, 3))
                convolution(f"{key}.branch_proj", 2, (before, before, 1, 1))
        else:
            middle, compress = channels // 4, 1 if index == 0 else groups
            rest = channels - before if first else channels
            convolution(f"{key}.branch_main_1", 0, (middle, before // compress, 1, 1))
            convolution(f"{key}.branch_main_1", 3, (middle, 1, 3, 3))
            convolution(f"{key}.branch_main_2", 0, (rest, middle // groups, 1, 1))
        before = channels
    if head:
        convolution("conv_last", 0, (head, before, 1, 1))
    shapes["classifier.0.weight"] = (classes, head or before)
    return shapes


def pixels():
    return np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3)).astype("float32")


def assert_same_logits(found, expected):
    assert np.abs(expected).max() > 1
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


# At 1x the first unit has 24 and 92 channels, where torchvision's has 58 and 58.
@pytest.mark.parametrize(("scale", "stages"), [(0.5, (48, 96, 192)), (1.0, (116, 232, 464))])
def test_megvii_v2_gives_megviis_logits(scale, stages, tmp_path):
    tensors = random_tensors(megvii_shapes(24, stages, 5, head=1024))
    write_tensors(tmp_path / "a.npz", {f"module.{key}": a for key, a in tensors.items()})
    model = ShuffleNetV2(
        scale,
        classes=5,
        weights=tmp_path / "a.npz",
        input_shape=(64, 64, 3),
        classifier_activation=None,
    )
    rgb = pixels()

    assert preprocessing_of(model) == "raw"
    assert_same_logits(keras.ops.convert_to_numpy(model(rgb)), megvii_v2(tensors, rgb[..., ::-1]))


# With 8 groups the two shuffles differ by more than a renaming of channels.
@pytest.mark.parametrize(
    ("groups", "stem", "stages"), [(3, 12, (120, 240, 480)), (8, 16, (192, 384, 768))]
)
def test_megvii_v1_gives_megviis_logits(groups, stem, stages, tmp_path):
    tensors = random_tensors(megvii_shapes(stem, stages, 5, groups=groups))
    write_tensors(tmp_path / "a.npz", tensors)
    model = ShuffleNetV1(
        0.5,
        groups,
        classes=5,
        weights=tmp_path / "a.npz",
        input_shape=(64, 64, 3),
        classifier_activation=None,
    )
    rgb = pixels()

    assert preprocessing_of(model) == "raw"
    assert_same_logits(
        keras.ops.convert_to_numpy(model(rgb)), megvii_v1(tensors, rgb[..., ::-1], groups)
    )
    wrong_order = keras.ops.convert_to_numpy(model(rgb[..., ::-1]))
    assert np.abs(wrong_order - megvii_v1(tensors, rgb[..., ::-1], groups)).max() > 0.1


def test_every_format_is_known_by_one_of_its_own_keys():
    for known in FORMATS:
        assert recognize([known.known_by], "a.npz") is known


def test_read_and_written_tensors_are_the_same(tensors, tmp_path):
    write_tensors(tmp_path / "a.npz", tensors)
    assert list(read_tensors(tmp_path / "a.npz")) == list(tensors)
