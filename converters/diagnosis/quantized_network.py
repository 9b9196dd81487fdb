"""A classifier with fake quantization, and its evaluation images, for the reports."""

from dataclasses import dataclass

import numpy as np
import tf_keras

from common.cli import UserError
from common.manifest import CLASSIFICATION, MANIFEST
from converters.diagnosis.settings import ReportConfig
from converters.graph.deployment import deployment_graph
from converters.graph.operations import Graph
from converters.options import DEFAULT_METHOD
from converters.quantization.calibration import calibrate, pixel_range
from converters.quantization.fake_quantization import fake_quant_model
from converters.source.classifier_file import check_same_classifier
from converters.source.from_workdir import network_of_workdir
from converters.source.network import Network
from converters.source.opening import open_network
from trainers.settings import MODEL_SUFFIX


@dataclass(frozen=True)
class QuantizedNetwork:
    """A fake-quantized deployment graph with real images.

    Attributes:
      description: the graph and its quantization, in words.
      graph, model: the deployment graph and its `fake_quant_model`.
      inputs: preprocessed float32 evaluation images [n, height, width, channels].
      labels: their classes, int32 [n]; None: not known.
      float_logits: the trained Keras model's logits for them, float32 [n, classes].
    """

    description: str
    graph: Graph
    model: tf_keras.Model
    inputs: np.ndarray
    labels: np.ndarray | None
    float_logits: np.ndarray


def load_quantized(config: ReportConfig) -> QuantizedNetwork:
    """Calibrates a classifier's deployment graph, or loads the one from `config.qat`.

    Raises:
      UserError: the workdir or the file, the training in `config.qat` or the images cannot be used.
    """
    if (config.model / MANIFEST).is_file():
        raise UserError(
            f"{config.model} is an artifact, without the graph that its files are compared with; "
            "name the workdir or the .keras file that it was converted from"
        )
    network = _classifier(config)
    samples = network.evaluation(config.images)
    (inputs,) = network.values(samples)
    (logits,) = network.predict([inputs])
    return QuantizedNetwork(*_quantize(network, config), inputs, samples.labels, logits)


def _classifier(config: ReportConfig) -> Network:
    """Returns the network that the command names, with its data."""
    if config.model.suffix != MODEL_SUFFIX:
        return network_of_workdir(config.model, config.data_dir)
    limit = 2 * max(config.images, config.calibration_images)
    network = open_network(config.model, config.data_dir, config.given, limit)
    if network.task != CLASSIFICATION or len(network.inputs) > 1:
        raise UserError(
            f"{config.model} is no classifier of one input with known classes, which alone this "
            "command compares: give photographs in a folder for each class, or --labels; "
            "shufflenet convert says how far the files of other networks are from Keras"
        )
    return network


def _quantize(network: Network, config: ReportConfig) -> tuple[str, Graph, tf_keras.Model]:
    if config.qat is not None:
        from converters.quantization.training import load_qat

        qat = load_qat(config.qat)
        if qat.model.output_shape[-1] != len(network.labels):
            raise UserError(
                f"{config.qat} has {qat.model.output_shape[-1]} classes, but {config.model} has "
                f"{len(network.labels)}; name the training of that model"
            )
        if config.model.suffix == MODEL_SUFFIX:
            check_same_classifier(network, config.qat)
        return f"quantization-aware training {config.qat}", qat.graph, qat.model
    target, method = config.target or "cpu", config.ranges or DEFAULT_METHOD
    graph = deployment_graph(network.model, target)
    (images,), mode = network.calibration(config.calibration_images), network.inputs[0].mode
    ranges = calibrate(graph, images, method, None if mode is None else pixel_range(mode))
    words = f"deployment graph for {target}, {method} ranges"
    return words, graph, fake_quant_model(graph, ranges)
