"""A workdir's network with fake quantization, and its evaluation images, for the reports."""

from dataclasses import dataclass

import numpy as np
import tf_keras

from common.cli import UserError
from converters.diagnosis.settings import ReportConfig
from converters.graph.deployment import deployment_graph
from converters.graph.operations import Graph
from converters.options import DEFAULT_METHOD
from converters.quantization.calibration import calibrate, pixel_range
from converters.quantization.fake_quantization import fake_quant_model
from converters.workdir import TrainedModel, calibration_inputs, load_trained, split_images
from keras_shufflenet.preprocessing import preprocess_input


@dataclass(frozen=True)
class QuantizedNetwork:
    """A fake-quantized deployment graph with real images.

    Attributes:
      description: the graph and its quantization, in words.
      graph, model: the deployment graph and its `fake_quant_model`.
      inputs: preprocessed float32 evaluation images [n, height, width, channels].
      labels: their classes, int32 [n].
      float_logits: the trained Keras model's logits for them, float32 [n, classes].
    """

    description: str
    graph: Graph
    model: tf_keras.Model
    inputs: np.ndarray
    labels: np.ndarray
    float_logits: np.ndarray


def load_quantized(config: ReportConfig) -> QuantizedNetwork:
    """Calibrates a workdir's deployment graph, or loads the one from `config.qat`.

    Raises:
      UserError: the workdir, the training in `config.qat` or the images cannot be used.
    """
    trained = load_trained(config.model, config.data_dir)
    training = trained.config
    images, labels = split_images(trained, training.data.eval_split, config.images)
    if not len(images):
        data = training.data
        raise UserError(f"split {data.eval_split!r} of {data.dataset} has no images")
    inputs = preprocess_input(images, mode=training.images.preprocessing)
    float_logits = trained.model.predict(inputs, verbose=0)
    return QuantizedNetwork(*_quantize(trained, config), inputs, labels, float_logits)


def _quantize(trained: TrainedModel, config: ReportConfig) -> tuple[str, Graph, tf_keras.Model]:
    if config.qat is not None:
        from converters.quantization.training import load_qat

        qat = load_qat(config.qat)
        if qat.model.output_shape[-1] != len(trained.labels):
            raise UserError(
                f"{config.qat} has {qat.model.output_shape[-1]} classes, but {config.model} has "
                f"{len(trained.labels)}; name the training of that model"
            )
        return f"quantization-aware training {config.qat}", qat.graph, qat.model
    target, method = config.target or "cpu", config.ranges or DEFAULT_METHOD
    graph = deployment_graph(trained.model, target)
    images = calibration_inputs(trained, config.calibration_images)
    ranges = calibrate(graph, images, method, pixel_range(trained.config.images.preprocessing))
    words = f"deployment graph for {target}, {method} ranges"
    return words, graph, fake_quant_model(graph, ranges)
