"""keras.applications with random weights: their files compared with Keras, and timed."""

import functools
import gc
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.choices import choose
from common.cli import UserError
from common.comparison import relative_errors
from common.console.progress import Progress
from common.console.table import markdown_table
from common.files import write_json
from common.storage.readers import read_json
from common.tflite.litert import LiteRTNetwork
from common.tflite.operators import operator_counts
from converters.conversion import canonical
from converters.conversion_cache import convert_graph
from converters.graph.deployment import deployment_graph
from converters.graph.operations import Graph
from converters.random_weights import SEED, random_network
from converters.source_digest import source_digest
from edge.running.measurement import interval, spread, statistics
from edge.running.side_by_side import Turns, measure
from trainers.optimization.averaging import BatchNormStatistics

_APPLICATIONS = keras.applications
# For the statistics and the ranges, and as many others for the comparison.
_IMAGES = 16
_FILES = ("usual", "ours")
_SOURCES = ("benchmarks/measuring/any_networks.py",)

# By name, what builds it; all but EfficientNet, which cannot be built without its normalization,
# take values from -1 to 1.
NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "mobilenet": _APPLICATIONS.MobileNet,
    "mobilenet-v2": _APPLICATIONS.MobileNetV2,
    "mobilenet-v3-small": functools.partial(
        _APPLICATIONS.MobileNetV3Small, include_preprocessing=False
    ),
    "mobilenet-v3-large": functools.partial(
        _APPLICATIONS.MobileNetV3Large, include_preprocessing=False
    ),
    "efficientnet-b0": _APPLICATIONS.EfficientNetB0,
    "resnet50": _APPLICATIONS.ResNet50,
    "densenet121": _APPLICATIONS.DenseNet121,
    "nasnet-mobile": _APPLICATIONS.NASNetMobile,
    "xception": _APPLICATIONS.Xception,
    "inception-v3": _APPLICATIONS.InceptionV3,
    "vgg16": _APPLICATIONS.VGG16,
    "convnext-tiny": functools.partial(_APPLICATIONS.ConvNeXtTiny, include_preprocessing=False),
}
_PIXELS = ("efficientnet-b0",)


def check_names(names: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the names as given, or all of `NETWORKS` for None.

    Raises:
      UserError: an unknown name.
    """
    return choose("network", names or None, NETWORKS)


def convert_all(
    networks: Mapping[str, Callable[..., keras.Model]], size: int, cache: Path
) -> dict[str, dict]:
    """Returns by network what its files compute; converts those that the cache lacks.

    Args:
      networks: what builds each, from `input_shape`, `weights` and `classifier_activation`.
      size: height and width of the images, pixels.
      cache: folder of converted files.

    Returns:
      `files`, `operators` and `cosine` by `_FILES`, and `float_error`; `refused` has the reason for
      a file that cannot be made, instead.
    """
    found: dict[str, dict] = {}
    with Progress("converting", len(networks), unit="network") as progress:
        for name, build in networks.items():
            digest = source_digest("deployment", _SOURCES)
            folder = (cache / f"{name}_{size}px_{digest}").absolute()
            record = folder / "found.json"
            if not record.is_file():
                folder.mkdir(parents=True, exist_ok=True)
                # Last, so that an interrupted conversion is made again.
                write_json(record, _converted(build, name, size, folder))
                gc.collect()
            found[name] = read_json(record, "remove its folder, so that it is made again")
            progress.update(len(found))
    return found


def _converted(build: Callable[..., keras.Model], name: str, size: int, folder: Path) -> dict:
    # Otherwise Keras would keep all of the networks in memory.
    keras.backend.clear_session()
    images, others = np.split(smooth_images(2 * _IMAGES, size), 2)
    if name in _PIXELS:
        images, others = ((x + 1) * 127.5 for x in (images, others))
    arguments = {"input_shape": (size, size, 3), "weights": None, "classifier_activation": None}
    model = random_network(functools.partial(build, **arguments))
    _fit_statistics(model, images)
    expected = model.predict(others, batch_size=4, verbose=0)
    found: dict[str, Any] = {"parameters": model.count_params(), "refused": {}}
    found |= {"files": {}, "operators": {}, "cosine": {}}
    for whose, make in {"usual": _usual, "ours": _ours}.items():
        try:
            content, more = make(model, images, others, expected)
        except UserError as error:
            found["refused"][whose] = str(error)
            continue
        path = folder / f"{whose}.tflite"
        path.write_bytes(content)
        found["files"][whose] = str(path)
        found["operators"][whose] = _operators(path)
        found["cosine"][whose] = _cosine(path, others, expected)
        found |= more
    return found


def _usual(model: keras.Model, images: np.ndarray, *unused: np.ndarray) -> tuple[bytes, dict]:
    return canonical.convert(model, "int8-ptq", images), {}


def _ours(
    model: keras.Model, images: np.ndarray, others: np.ndarray, expected: np.ndarray
) -> tuple[bytes, dict]:
    graph = deployment_graph(model)
    error = _float_error(graph, images, others, expected)
    return convert_graph(graph, "int8-ptq", images), {"float_error": error}


def smooth_images(count: int, size: int) -> np.ndarray:
    """Returns random float32 images in [-1, 1], [count, size, size, 3], with areas of all sizes.

    Of images whose pixels are independent, a deep network's pools leave nearly the same.
    """
    rng = np.random.default_rng(SEED)
    total = np.zeros((count, size, size, 3), np.float32)
    for side in (2, 4, 8, 16, 32):
        coarse = rng.normal(size=(count, side, side, 3)).astype(np.float32)
        total += keras.ops.convert_to_numpy(keras.ops.image.resize(coarse, (size, size)))
    return np.clip(total / 4, -1, 1)


def _fit_statistics(model: keras.Model, images: np.ndarray) -> None:
    """Gives BatchNormalization the statistics of images, as a training would."""
    BatchNormStatistics(model, tf.distribute.get_strategy()).reestimate([(images,)])


def _float_error(
    graph: Graph, images: np.ndarray, others: np.ndarray, expected: np.ndarray
) -> float:
    """Returns the largest error of the float file, in standard deviations of Keras's logits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.tflite"
        path.write_bytes(convert_graph(graph, "none", images))
        (found,) = LiteRTNetwork(path).predict_all([others])
    return relative_errors(expected, found)["max"]


def _cosine(path: Path, images: np.ndarray, expected: np.ndarray) -> float:
    """Returns the mean cosine of the angle between an image's logits and Keras's."""
    (found,) = LiteRTNetwork(path).predict_all([images])
    norms = np.linalg.norm(found, axis=-1) * np.linalg.norm(expected, axis=-1)
    return float(((found * expected).sum(axis=-1) / norms).mean())


def _operators(path: Path) -> int:
    return sum(entry["count"] for entry in operator_counts(path).values())


def timed(networks: dict[str, dict], turns: Turns) -> dict[str, dict]:
    """Returns the networks with `latency`, statistics in ms by `_FILES`.

    `faster` is how many times as long as ours the usual file took in the same round.
    """
    requests = {
        name: {"files": list(network["files"].values())}
        for name, network in networks.items()
        if network["files"]
    }
    times = measure("edge.running.timing", requests, turns)
    result = {}
    for name, network in networks.items():
        rows = dict(zip(network["files"], times.get(name, ()), strict=True))
        values = {key: value for key, value in network.items() if key != "files"}
        values["latency"] = {whose: statistics(list(row)) for whose, row in rows.items()}
        if len(rows) == len(_FILES):
            values["faster"] = spread(rows["usual"] / rows["ours"])
        result[name] = values
    return result


def table(run: dict) -> str:
    """Returns a markdown table with a row per network, and a line for each file that is refused."""
    headers = [
        "network",
        *("operators: usual", "ours", "float error", "int8 cosine: usual", "ours"),
        *("usual, ms (p10-p90)", "ours, ms (p10-p90)", "faster"),
    ]
    networks = run["networks"]
    lines = [markdown_table(headers, [_row(name, network) for name, network in networks.items()])]
    for name, network in networks.items():
        lines += [f"{name}, {whose}: {why}" for whose, why in network["refused"].items()]
    return "\n\n".join(lines)


def _row(name: str, network: dict) -> list[str]:
    def cells(field: str, show: Callable[[Any], str]) -> list[str]:
        return [show(network[field][w]) if w in network[field] else "-" for w in _FILES]

    error, faster = network.get("float_error"), network.get("faster")
    return [
        name,
        *cells("operators", str),
        "-" if error is None else f"{error:.1e}",
        *cells("cosine", "{:.4f}".format),
        *cells("latency", lambda found: interval(found, 2)),
        "-" if faster is None else interval(faster, 2, bold=True, unit="x"),
    ]
