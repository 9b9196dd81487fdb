"""What each (graph, quantization) is converted from, and the function that does it: a table."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import tf_keras

from common.cli import UserError
from converters.conversion import canonical, tflite
from converters.conversion.config import ConversionConfig
from converters.conversion.ends import Ends
from converters.graph.deployment import deployment_graph
from converters.graph.emitter import emit
from converters.graph.operations import Graph
from converters.graph.targets import ONNX_LOWERING
from converters.options import GRAPHS, ONNX
from converters.quantization.calibration import calibrate, pixel_range
from converters.quantization.config import QatConfig, is_file
from converters.quantization.fake_quantization import Range, fake_quant_model
from converters.source.classifier_file import check_same_classifier
from converters.source.network import Network


class Sources:
    """A network and what is derived from it; each part is made once, when first needed.

    Attributes:
      network: the model, with its data.
      config: the command's settings.
      ends: the model's inputs and outputs.
    """

    def __init__(self, network: Network, config: ConversionConfig):
        self.network = network
        self.config = config
        self.ends = Ends(tuple(each.name for each in network.inputs), network.outputs)

    @cached_property
    def graph(self) -> Graph:
        """The deployment graph in the target's lowering."""
        if self.network.quantized is not None:
            return self.network.quantized[0]
        return deployment_graph(self.network.model, self.config.target)

    @cached_property
    def onnx_graph(self) -> Graph:
        """The deployment graph in the lowering of ONNX files."""
        return deployment_graph(self.network.model, lowering=ONNX_LOWERING)

    @cached_property
    def calibration(self) -> np.ndarray | tuple[np.ndarray, ...]:
        """Preprocessed float32 training images [n, ...]; with several inputs, an array for each."""
        arrays = self.network.calibration(self.config.calibration_images)
        return arrays[0] if len(arrays) == 1 else arrays

    @cached_property
    def calibration_images(self) -> int:
        """The number of calibration images."""
        several = isinstance(self.calibration, tuple)
        return len(self.calibration[0] if several else self.calibration)

    @cached_property
    def ranges(self) -> dict[str, Range]:
        """The calibrated range of every int8 scale of the deployment graph."""
        return self._calibrated(self.graph)

    @cached_property
    def onnx_ranges(self) -> dict[str, Range]:
        """Those of the graph of ONNX files, from the same images."""
        return self._calibrated(self.onnx_graph)

    def _calibrated(self, graph: Graph) -> dict[str, Range]:
        known = {
            name: pixel_range(each.mode)
            for name, each in zip(graph.inputs, self.network.inputs, strict=True)
            if each.mode is not None
        }
        method = self.config.ranges
        if len(graph.inputs) == 1:
            return calibrate(graph, self.calibration, method, known.get(graph.inputs[0]))
        ranges = calibrate(graph, self.calibration, method)
        known = {name: pixels for name, pixels in known.items() if pixels and name in ranges}
        return {**ranges, **known}

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
        if is_file(found.model):
            check_same_classifier(self.network, folder)
        return found

    @cached_property
    def qat_model(self) -> tf_keras.Model:
        """The fake-quantized deployment graph as it was trained."""
        if self.network.quantized is not None:
            return self.network.quantized[1]
        from converters.quantization.training import load_qat

        # The settings first: they reveal a training of something else.
        _ = self.qat_config
        return load_qat(self.config.qat_folder).model


def _canonical(sources: Sources, quantization: str) -> bytes:
    calibration = sources.calibration if quantization == "int8-ptq" else None
    model, io_dtype = sources.network.model, sources.config.io_dtype
    return canonical.convert(
        model, quantization, calibration, io_dtype, sources.config.batch, sources.ends
    )


def _float(sources: Sources, quantization: str) -> bytes:
    return tflite.convert_float(
        emit(sources.graph), quantization, sources.ends, sources.config.batch
    )


def _int8_ptq(sources: Sources, quantization: str) -> bytes:
    model = fake_quant_model(sources.graph, sources.ranges)
    return _fake_quant(sources, model)


def _int8_qat(sources: Sources, quantization: str) -> bytes:
    return _fake_quant(sources, sources.qat_model)


def _fake_quant(sources: Sources, model: tf_keras.Model) -> bytes:
    config = sources.config
    return tflite.convert_fake_quant(model, config.io_dtype, sources.ends, config.batch)


def _int16(sources: Sources, quantization: str) -> bytes:
    return tflite.convert_int16(
        emit(sources.graph), sources.calibration, sources.ends, sources.config.batch
    )


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
