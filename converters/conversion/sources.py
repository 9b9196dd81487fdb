"""What each (graph, quantization) is converted from, and the function that does it: a table."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import tf_keras

from common.cli import UserError
from converters.conversion import canonical, tflite
from converters.conversion.config import ConversionConfig
from converters.graph.deployment import deployment_graph
from converters.graph.emitter import emit
from converters.graph.operations import Graph
from converters.graph.targets import ONNX_LOWERING
from converters.options import GRAPHS, ONNX
from converters.quantization.calibration import calibrate, pixel_range
from converters.quantization.config import QatConfig
from converters.quantization.fake_quantization import Range, fake_quant_model
from converters.workdir import TrainedModel, calibration_inputs


class Sources:
    """A trained model and what is derived from it; each part is made once, when first needed.

    Attributes:
      trained: the workdir's model.
      config: the command's settings.
    """

    def __init__(self, trained: TrainedModel, config: ConversionConfig):
        self.trained = trained
        self.config = config

    @cached_property
    def graph(self) -> Graph:
        """The deployment graph in the target's lowering."""
        return deployment_graph(self.trained.model, self.config.target)

    @cached_property
    def onnx_graph(self) -> Graph:
        """The deployment graph in the lowering of ONNX files."""
        return deployment_graph(self.trained.model, lowering=ONNX_LOWERING)

    @cached_property
    def calibration(self) -> np.ndarray:
        """Preprocessed float32 training images [n, height, width, channels]."""
        return calibration_inputs(self.trained, self.config.calibration_images)

    @cached_property
    def ranges(self) -> dict[str, Range]:
        """The calibrated range of every int8 scale of the deployment graph."""
        return self._calibrated(self.graph)

    @cached_property
    def onnx_ranges(self) -> dict[str, Range]:
        """Those of the graph of ONNX files, from the same images."""
        return self._calibrated(self.onnx_graph)

    def _calibrated(self, graph: Graph) -> dict[str, Range]:
        pixels = pixel_range(self.trained.config.images.preprocessing)
        return calibrate(graph, self.calibration, self.config.ranges, pixels)

    @cached_property
    def qat_config(self) -> QatConfig:
        """How the quantization-aware training was done.

        Raises:
          UserError: the training is of another model, or for another target.
        """
        config, folder = self.config, self.config.qat_folder
        found = QatConfig.load(folder)
        if found.model.resolve() != config.model.resolve():
            raise UserError(
                f"{folder} was trained from {found.model}, not from {config.model}; name another "
                "with --qat"
            )
        if found.target != config.target:
            raise UserError(
                f"{folder} was trained for {found.target}, not {config.target}; convert with "
                f"--target={found.target}, or train again with shufflenet quantize"
            )
        return found

    @cached_property
    def qat_model(self) -> tf_keras.Model:
        """The fake-quantized deployment graph as it was trained."""
        from converters.quantization.training import load_qat

        # The settings first: they reveal a training of something else.
        _ = self.qat_config
        return load_qat(self.config.qat_folder).model


def _canonical(sources: Sources, quantization: str) -> bytes:
    calibration = sources.calibration if quantization == "int8-ptq" else None
    model, io_dtype = sources.trained.model, sources.config.io_dtype
    return canonical.convert(model, quantization, calibration, io_dtype)


def _float(sources: Sources, quantization: str) -> bytes:
    return tflite.convert_float(emit(sources.graph), quantization)


def _int8_ptq(sources: Sources, quantization: str) -> bytes:
    model = fake_quant_model(sources.graph, sources.ranges)
    return tflite.convert_fake_quant(model, sources.config.io_dtype)


def _int8_qat(sources: Sources, quantization: str) -> bytes:
    return tflite.convert_fake_quant(sources.qat_model, sources.config.io_dtype)


def _int16(sources: Sources, quantization: str) -> bytes:
    return tflite.convert_int16(emit(sources.graph), sources.calibration)


def _onnx(sources: Sources, quantization: str) -> bytes:
    # Of the extra "onnx": it may be missing.
    from converters.onnx_target.export import onnx_model

    config = sources.config
    ranges = sources.onnx_ranges if quantization == "onnx-int8" else None
    model = onnx_model(sources.onnx_graph, ranges, config.onnx_layout, config.onnx_weight_bits)
    return model.SerializeToString()


# The function that makes the file of each (graph, quantization) in `GRAPHS`.
CONVERTERS: dict[tuple[str, str], Callable[[Sources, str], bytes]] = {
    **{("canonical", quantization): _canonical for quantization in GRAPHS["canonical"]},
    **{("deployment", quantization): _float for quantization in ("none", "float16", "dynamic")},
    ("deployment", "int8-ptq"): _int8_ptq,
    ("deployment", "int8-qat"): _int8_qat,
    ("deployment", "int16x8"): _int16,
    **{("deployment", quantization): _onnx for quantization in ONNX},
}
