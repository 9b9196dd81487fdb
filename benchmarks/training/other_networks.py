"""Networks of others on small images: trained by Keras's `fit`, quantized in three ways."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from common.choices import choose
from common.cli import UserError
from common.console.table import markdown_table
from common.files import atomic_write
from common.tflite.litert import LiteRTModel
from converters.conversion import canonical
from converters.conversion.check import measure_agreement
from converters.conversion.tflite import convert_fake_quant
from converters.quantization.aware import quantization_aware
from edge.running.measurement import interval, spread, statistics
from edge.running.side_by_side import Turns, measure
from keras_shufflenet.preprocessing import preprocess_input
from trainers.data.pipeline import uint8_images
from trainers.recipes import make_config

_LAYERS = keras.layers
_SIDE, _CLASSES = 32, 10
_SHAPE = (_SIDE, _SIDE, 3)
_BATCH, _CALIBRATION, _PIXELS = 128, 512, (-1.0, 1.0)
# Linear in the batch size, as in the recipes: 0.1 for 128 images.
_RATE, _QAT_RATE, _MOMENTUM = 0.1, 3e-4, 0.9
# keras.applications keep 99.9% of the statistics at a step: after a few epochs they would still be
# nearly those of the start.
_STATISTICS_MOMENTUM = 0.9
_USUAL = "usual PTQ"
# By column of the table; in this order in `results`.
METHODS = (_USUAL, "ours, PTQ", "ours, QAT")
# The files that are timed, by their methods.
_TIMED = {"usual": _USUAL, "ours": "ours, QAT"}
_UNTRAINED = "; its time is that of the same conversion of the network before its training"


@dataclass(frozen=True)
class Plan:
    """What to train: the flags of `benchmarks.other_networks`."""

    networks: tuple[str, ...]
    dataset: str
    data_dir: str | None
    epochs: int
    qat_epochs: int
    train_images: int | None
    workdirs: str


class Images(NamedTuple):
    """The images of a split, float32 in [-1, 1], and their classes."""

    inputs: np.ndarray
    labels: np.ndarray


def _mobilenet(build: Callable, **arguments: object) -> Callable[[], keras.Model]:
    def make() -> keras.Model:
        return build(
            input_shape=_SHAPE,
            weights=None,
            classes=_CLASSES,
            classifier_activation=None,
            **arguments,
        )

    return make


def _residual() -> keras.Model:
    """Returns ResNet-8, which MLPerf Tiny classifies CIFAR-10 with (Banbury et al., 2021)."""
    image = keras.Input(_SHAPE)
    x = _normalized(image, 16, 3, 1, "relu")
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        y = _normalized(x, channels, 3, stride, "relu")
        y = _normalized(y, channels, 3, 1, None)
        x = x if stride == 1 else _normalized(x, channels, 1, stride, None)
        x = _LAYERS.ReLU()(_LAYERS.Add()([x, y]))
    x = _LAYERS.GlobalAveragePooling2D()(x)
    return keras.Model(image, _LAYERS.Dense(_CLASSES)(x), name="resnet8")


def _normalized(
    x: keras.KerasTensor, channels: int, window: int, stride: int, activation: str | None
) -> keras.KerasTensor:
    x = _LAYERS.Conv2D(channels, window, stride, padding="same", use_bias=False)(x)
    return _LAYERS.Activation(activation or "linear")(_LAYERS.BatchNormalization()(x))


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "mobilenet-v2-0.35": _mobilenet(keras.applications.MobileNetV2, alpha=0.35),
    "mobilenet-v3-small": _mobilenet(
        keras.applications.MobileNetV3Small, include_preprocessing=False
    ),
    "resnet-8": _residual,
}


def check_names(names: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the names as given, or all of `NETWORKS` for None.

    Raises:
      UserError: an unknown name.
    """
    return choose("network", names or None, NETWORKS)


def train_and_convert(plan: Plan) -> dict[str, dict]:
    """Trains, quantizes and evaluates every network.

    Returns:
      `train_images`, `epochs`, `qat_epochs` and `networks`: by name `images` (of the test), `float`
      (accuracy), `parameters`, `results` (accuracy and argmax, the share of images with the float
      model's class, by `METHODS`) and `files`, [usual, ours].

    Raises:
      UserError: the data cannot be read.
    """
    train, test = _load(plan, "train", plan.train_images), _load(plan, "test", None)
    found = {}
    for name in plan.networks:
        folder = Path(plan.workdirs, name).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        model = _float_model(name, folder, train, plan.epochs)
        found[name] = _quantized(model, folder, plan, train, test)
        keras.backend.clear_session()
        gc.collect()
    lengths = {"epochs": plan.epochs, "qat_epochs": plan.qat_epochs}
    return {"train_images": len(train.labels), **lengths, "networks": found}


def _load(plan: Plan, split: str, limit: int | None) -> Images:
    values = {"dataset": plan.dataset, "data_dir": plan.data_dir, "input_size": _SIDE}
    config = make_config("cifar10", str(plan.workdirs), {**values, "crop_share": 1.0})
    images, labels = uint8_images(config, split, limit, seed=0)
    return Images(preprocess_input(images, mode="tf"), labels)


def _float_model(name: str, folder: Path, train: Images, epochs: int) -> keras.Model:
    """Returns the network, trained; one that was trained is loaded."""
    path = folder / "float.keras"
    if path.exists():
        return keras.saving.load_model(path, compile=False)
    print(f"== {name}: {epochs} epochs in float", flush=True)
    keras.utils.set_random_seed(0)
    model = NETWORKS[name]()
    for layer in model.layers:
        if isinstance(layer, _LAYERS.BatchNormalization):
            layer.momentum = _STATISTICS_MOMENTUM
    steps = epochs * (len(train.labels) // _BATCH)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=_RATE, warmup_steps=steps // 10
    )
    model.compile(
        keras.optimizers.SGD(rate, _MOMENTUM, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        # On CPUs these networks train several times as slowly with XLA.
        jit_compile=False,
    )
    model.fit(_batches(train), epochs=epochs, verbose=2)
    with atomic_write(path) as temporary:
        model.save(temporary)
    return model


def _batches(train: Images) -> tf.data.Dataset:
    """Returns an epoch's shuffled batches; every image is mirrored or not, and moved."""

    def augment(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.image.random_flip_left_right(image)
        image = tf.pad(image, [[4, 4], [4, 4], [0, 0]], "REFLECT")
        return tf.image.random_crop(image, _SHAPE), label

    stream = tf.data.Dataset.from_tensor_slices(tuple(train))
    stream = stream.shuffle(len(train.labels), seed=0).map(augment, tf.data.AUTOTUNE)
    return stream.batch(_BATCH, drop_remainder=True).prefetch(2)


def _quantized(model: keras.Model, folder: Path, plan: Plan, train: Images, test: Images) -> dict:
    """Returns what `train_and_convert` says of a network."""
    logits = model.predict(test.inputs, batch_size=512, verbose=0)
    chosen = np.random.default_rng(0).choice(len(train.labels), _CALIBRATION, replace=False)
    images = train.inputs[chosen]
    aware = quantization_aware(model, images, pixels=_PIXELS)
    contents = [canonical.convert(model, "int8-ptq", images), convert_fake_quant(aware)]
    _train_quantized(aware, folder / "qat.weights.h5", plan.qat_epochs, train)
    contents.append(convert_fake_quant(aware))
    names = ("usual_ptq", "ours_ptq", "ours_qat")
    files = {method: folder / f"{name}.tflite" for method, name in zip(METHODS, names, strict=True)}
    for path, content in zip(files.values(), contents, strict=True):
        path.write_bytes(content)
    results = {method: _scores(path, logits, test) for method, path in files.items()}
    if "refused" in results[_USUAL]:
        files[_USUAL] = _usual_untrained(folder, images)
    return {
        "images": len(test.labels),
        "parameters": model.count_params(),
        "float": _accuracy(logits, test),
        "results": results,
        "files": [str(files[method]) for method in _TIMED.values()],
    }


def _usual_untrained(folder: Path, images: np.ndarray) -> Path:
    """Returns the usual file of the network with new random weights, which take the same time."""
    path = folder / "usual_untrained.tflite"
    path.write_bytes(canonical.convert(NETWORKS[folder.name](), "int8-ptq", images))
    return path


def _train_quantized(aware: tf_keras.Model, path: Path, epochs: int, train: Images) -> None:
    """Trains with int8 rounding, unless it was done; the model then has the trained weights."""
    if path.exists():
        aware.load_weights(path)
        return
    print(f"== {path.parent.name}: {epochs} epochs with int8 rounding", flush=True)
    steps = epochs * (len(train.labels) // _BATCH)
    rate = tf_keras.optimizers.schedules.CosineDecay(_QAT_RATE, steps)
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    aware.compile(tf_keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    aware.fit(_batches(train), epochs=epochs, verbose=2)
    with atomic_write(path) as temporary:
        aware.save_weights(temporary)


def _scores(path: Path, logits: np.ndarray, test: Images) -> dict[str, Any]:
    try:
        found = LiteRTModel(path).predict(test.inputs)
    except UserError as error:
        # XNNPACK refuses the scale that the usual conversion gives to a tensor that is always 0.
        return {"refused": str(error).replace(str(path), path.name)}
    agreement = measure_agreement(logits, found)
    return {"accuracy": _accuracy(found, test), "argmax": agreement.argmax}


def _accuracy(logits: np.ndarray, test: Images) -> float:
    return float((logits.argmax(-1) == test.labels).mean())


def timed(networks: dict[str, dict], turns: Turns) -> dict[str, dict]:
    """Returns the networks with `latency`, statistics in ms of the usual file and of ours.

    `faster` is how many times as long as ours the usual one took in the same round.
    """
    requests = {name: {"files": network["files"]} for name, network in networks.items()}
    measured = measure("edge.running.timing", requests, turns)
    result = {}
    for name, network in networks.items():
        times = dict(zip(_TIMED, measured[name], strict=True))
        result[name] = {
            **{key: value for key, value in network.items() if key != "files"},
            "latency": {whose: statistics(list(values)) for whose, values in times.items()},
            "faster": spread(times["usual"] / times["ours"]),
        }
    return result


def table(run: dict) -> str:
    """Returns a markdown table with a row per network."""
    rows = [
        [
            name,
            f"{network['float']:.2%}",
            *(_cell(network["float"], **network["results"][method]) for method in METHODS),
            *(interval(network["latency"][whose], 3) for whose in _TIMED),
            interval(network["faster"], 2, bold=True, unit="x"),
        ]
        for name, network in run["networks"].items()
    ]
    headers = ["network", "float", *METHODS, "usual, ms (p10-p90)", "ours, ms (p10-p90)", "faster"]
    lengths = (
        f"{run['train_images']:,} training images; {run['epochs']} epochs in float, "
        f"{run['qat_epochs']} with int8 rounding."
    )
    return "\n\n".join([markdown_table(headers, rows), *_refusals(run), lengths])


def _refusals(run: dict) -> list[str]:
    return [
        f"{name}, {method}: {scores['refused']}{_UNTRAINED if method == _USUAL else ''}"
        for name, network in run["networks"].items()
        for method, scores in network["results"].items()
        if "refused" in scores
    ]


def _cell(
    exact: float, accuracy: float | None = None, argmax: float = 0, refused: str | None = None
) -> str:
    if refused:
        return "refused by LiteRT"
    return f"{accuracy:.2%} ({100 * (accuracy - exact):+.2f}; {argmax:.2%})"
