"""The files for comparing runtimes: one network with the same weights in every format."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from benchmarks.measuring.networks import build
from benchmarks.other_runtimes.plain_graph import is_v2, plain_graph, shuffle_free_graph
from converters.conversion import canonical
from converters.conversion_cache import convert_graph
from converters.graph.deployment import deployment_graph
from converters.graph.operations import Graph
from converters.quantization.calibration import calibrate
from converters.random_weights import SEED
from edge.running import worker
from keras_shufflenet import preprocess_input
from trainers.distribution.strategy import batch_norms
from trainers.optimization.averaging import BatchNormStatistics

IMAGES = 40
# Images for the int8 ranges; the runtimes' outputs are compared on the others.
CALIBRATION = 32
# The graph of others' own file.
PUBLISHED = "published"
# Of a channel, as a share of the mean variance of its layer's channels.
SMALLEST_VARIANCE = 0.1


@dataclass(frozen=True)
class Variant:
    """One way to run a network.

    Attributes:
      runtime: "litert" or a key of `benchmarks.other_runtimes.models.PACKAGES`.
      graph: "canonical", the trained network with its shuffles, "deployment", without, or
        `PUBLISHED`.
      precision: "float32" or "int8".
    """

    runtime: str
    graph: str
    precision: str


# The variant that all others are compared with.
OURS = Variant("litert", "deployment", "int8")
# ncnn's package lacks the tools that quantize.
_FLOAT_ONLY = ("ncnn",)


def variants(runtimes: tuple[str, ...], shuffle_free: bool) -> list[Variant]:
    """Returns what to measure: `OURS` first, then LiteRT's other variants, then other runtimes'.

    Args:
      runtimes: keys of `PACKAGES`.
      shuffle_free: whether they have a graph without shuffles.
    """
    found = []
    for runtime in (OURS.runtime, *runtimes):
        both = shuffle_free or runtime == OURS.runtime
        graphs = ("deployment", "canonical") if both else ("canonical",)
        precisions = ("float32",) if runtime in _FLOAT_ONLY else ("int8", "float32")
        found += [
            Variant(runtime, graph, precision) for graph in graphs for precision in precisions
        ]
    return found


@dataclass(frozen=True)
class Comparison:
    """A network in all its files.

    Attributes:
      files: by variant.
      images: path of the images [n, height, width, channels] that outputs are compared on.
      logits: the Keras model's logits of these images, [n, classes]; a detector's raw output,
        [n, points, 4 + classes].
    """

    files: dict[Variant, Path]
    images: Path
    logits: np.ndarray


def write_files(network: str, runtimes: tuple[str, ...], folder: Path) -> Comparison:
    """Writes a network into `folder` in the format of every runtime and precision.

    Args:
      network: a key of `benchmarks.measuring.networks.NETWORKS`.
      runtimes: keys of `benchmarks.other_runtimes.models.PACKAGES`.
      folder: must exist; files of the same names are replaced.

    Raises:
      UserError: a quantizer failed.

    Examples:
      >>> comparison = write_files("v2-1x", ("onnxruntime",), Path("build"))
    """
    model = build(network)
    return write_model(model, variants(runtimes, is_v2(model)), folder)


def write_model(model: keras.Model, wanted: Sequence[Variant], folder: Path) -> Comparison:
    """Writes a model into `folder` in the formats of the variants.

    Args:
      model: a network with random weights; its BatchNormalization gets the images' statistics.
      wanted: the variants.
      folder: must exist; files of the same names are replaced.

    Raises:
      UserError: a quantizer failed.

    Examples:
      >>> comparison = write_model(build("v2-1x"), [OURS], Path("build"))
    """
    pictures = preprocess_input(photos(model.input_shape[1]))
    calibration, checked = pictures[:CALIBRATION], pictures[CALIBRATION:]
    settle_batch_norms(model, calibration)
    writer = _Writer(model, folder, calibration)
    files = {variant: writer.write(variant) for variant in wanted}
    images = folder / "checked.npy"
    np.save(images, checked)
    return Comparison(files, images, np.asarray(tf.function(model)(checked, training=False)))


def photos(size: int) -> np.ndarray:
    """Returns crops of scikit-learn's two photographs, uint8 [IMAGES, size, size, 3]."""
    from sklearn.datasets import load_sample_images

    both = load_sample_images().images
    rng = np.random.default_rng(SEED)
    crops = []
    for index in range(IMAGES):
        photo = both[index % len(both)]
        top, left = (rng.integers(extent - size + 1) for extent in photo.shape[:2])
        crops.append(photo[top : top + size, left : left + size])
    return np.stack(crops)


def settle_batch_norms(model: keras.Model, images: np.ndarray) -> None:
    """Gives every BatchNormalization the statistics of `images`.

    With random statistics the image fades from layer to layer: the logits would be the same for
    every image, and a runtime that computes something else would not be noticed. Channels that
    hardly vary are not scaled up: that would magnify rounding errors, also those of float32.
    """
    BatchNormStatistics(model, tf.distribute.get_strategy()).reestimate([(images,)])
    for norm in batch_norms(model):
        variance = np.asarray(norm.moving_variance)
        norm.moving_variance.assign(np.maximum(variance, SMALLEST_VARIANCE * variance.mean()))


def quantize(runtime: str, source: Path, target: Path, images: Path) -> Path:
    """Quantizes an ONNX file to int8 with a runtime's own quantizer, in a process of its own.

    Args:
      runtime: "onnxruntime" or "openvino".
      source: the float32 file.
      target: the file to write, without its suffix.
      images: file of preprocessed float32 images [n, channels, height, width] for calibration.

    Returns:
      `target` with the suffix of the runtime's format.

    Raises:
      UserError: the quantizer failed.
    """
    target = target.with_suffix(".xml" if runtime == "openvino" else ".onnx")
    request = {
        "runtime": runtime,
        "source": str(source),
        "target": str(target),
        "images": str(images),
    }
    worker.call("benchmarks.other_runtimes.quantize_worker", request)
    return target


class _Writer:
    """Writes one network's files; other runtimes' int8 files are made from their float32 ones."""

    def __init__(self, model: keras.Model, folder: Path, calibration: np.ndarray):
        self.model = model
        self.folder = folder
        self.calibration = calibration
        self.channels_first = folder / "calibration.npy"
        np.save(self.channels_first, np.ascontiguousarray(calibration.transpose(0, 3, 1, 2)))

    def write(self, variant: Variant) -> Path:
        """Writes the file of a variant and returns its path."""
        writers = {"litert": self._litert, "ncnn": self._ncnn}
        name = f"{variant.runtime}_{variant.graph}_{variant.precision}"
        return writers.get(variant.runtime, self._onnx)(variant, self.folder / name)

    def _graph(self, name: str) -> Graph:
        """Returns the graph that runtimes other than LiteRT get."""
        return plain_graph(self.model) if name == "canonical" else shuffle_free_graph(self.model)

    def _litert(self, variant: Variant, path: Path) -> Path:
        path = path.with_suffix(".tflite")
        quantization = "int8-ptq" if variant.precision == "int8" else "none"
        if variant.graph == "canonical":
            content = canonical.convert(self.model, quantization, self.calibration)
        else:
            graph = deployment_graph(self.model, "cpu")
            content = convert_graph(graph, quantization, self.calibration)
        path.write_bytes(content)
        return path

    def _onnx(self, variant: Variant, path: Path) -> Path:
        import onnx

        from converters.onnx_target.export import onnx_model

        graph = self._graph(variant.graph)
        if variant == replace(variant, graph="deployment", precision="int8"):
            # What `shufflenet convert --quantization=onnx-int8` writes, for every CPU.
            path = path.with_suffix(".onnx")
            ranges = calibrate(graph, self.calibration)
            onnx.save(onnx_model(graph, ranges, weight_bits=7), path)
            return path
        source = self.folder / f"{variant.graph}.onnx"
        onnx.save(onnx_model(graph), source)
        if variant.precision == "float32":
            return source
        return quantize(variant.runtime, source, path, self.channels_first)

    def _ncnn(self, variant: Variant, path: Path) -> Path:
        from benchmarks.other_runtimes.ncnn_export import ncnn_files

        path = path.with_suffix(".param")
        param, weights = ncnn_files(self._graph(variant.graph))
        path.write_text(param, encoding="utf-8")
        path.with_suffix(".bin").write_bytes(weights)
        return path
