"""Quantizes an ONNX file as the makers of a runtime recommend.

Run by `edge.running.worker.call`, in a fresh process.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge.running import worker


def quantize(request: dict) -> dict:
    """Writes the int8 version of the file `source` to `target`.

    The ranges are those of the activations on `images`, a .npy file of the float model's inputs.
    """
    images = np.load(request["images"])
    _QUANTIZERS[request["runtime"]](Path(request["source"]), Path(request["target"]), images)
    return {}


def _onnxruntime(source: Path, target: Path, images: np.ndarray) -> None:
    """QDQ format, one scale per channel; uint8 activations, for which its x86 kernels are made."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._images = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self._images, None)
            return None if image is None else {name: image[np.newaxis]}

    name = onnx.load(source).graph.input[0].name
    prepared = target.with_suffix(".prepared.onnx")
    # All shapes are known: nothing is symbolic.
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(
        prepared,
        target,
        Images(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    prepared.unlink()


def _openvino(source: Path, target: Path, images: np.ndarray) -> None:
    # Turns off the report of its use to its makers.
    os.environ["NNCF_CI"] = "1"
    import nncf
    import openvino

    model = openvino.Core().read_model(source)
    dataset = nncf.Dataset([image[np.newaxis] for image in images])
    quantized = nncf.quantize(model, dataset, subset_size=len(images))
    openvino.save_model(quantized, target, compress_to_fp16=False)


_QUANTIZERS: dict[str, Callable[[Path, Path, np.ndarray], None]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}

if __name__ == "__main__":
    worker.serve(quantize)
