"""Runs an ONNX file in ONNX Runtime, to check it, and describes it for the manifest."""

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.cli import UserError
from common.files import stored_file
from converters.onnx_target.layout import CHANNELS_FIRST, CHANNELS_LAST
from converters.onnx_target.packages import check_packages
from converters.options import ONNX_LAYOUTS

# In the file's metadata.
LAYOUT = "layout"


class OnnxModel:
    """An ONNX file of `shufflenet convert`, loaded into ONNX Runtime on the CPU.

    Args:
      path: the .onnx file; its metadata says whether its maps are channels first.

    Raises:
      UserError: ONNX Runtime is not installed, or the file does not name its layout.

    Examples:
      >>> model = OnnxModel("artifact/deployment_int8_ptq.onnx")
      >>> logits = model.predict(artifact.preprocess(images))
    """

    def __init__(self, path: str | Path):
        check_packages()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # Otherwise CPUs without VNNI clip sums of products, and an exact file would look wrong.
        options.add_session_config_entry("session.x64quantprecision", "1")
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        layout = self._session.get_modelmeta().custom_metadata_map.get(LAYOUT)
        if layout not in ONNX_LAYOUTS:
            raise UserError(f"{path} was not written by shufflenet convert: it names no layout")
        self._channels_first = layout == "nchw"

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns the only output [n, …] of images [n, height, width, channels], float32."""
        (output,) = self.predict_all([images])
        return output

    def predict_all(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns all outputs, [n, …] each, of the inputs' arrays, [n, …] each, one at a time.

        Maps are channels last here, whatever they are in the file.
        """
        names = [each.name for each in self._session.get_inputs()]
        found = []
        for row in zip(*arrays, strict=True):
            values = [self._moved(one[np.newaxis], CHANNELS_FIRST) for one in row]
            outputs = self._session.run(None, dict(zip(names, values, strict=True)))
            found.append([self._moved(output, CHANNELS_LAST) for output in outputs])
        return [np.concatenate(rows) for rows in zip(*found, strict=True)]

    def _moved(self, array: np.ndarray, order: Sequence[int]) -> np.ndarray:
        is_map = array.ndim == len(order)
        return np.ascontiguousarray(
            array.transpose(order) if is_map and self._channels_first else array
        )


def describe_onnx(path: Path) -> dict:
    """Returns an ONNX file's entry for the manifest: hash, size, inputs, outputs, operators."""
    import onnx

    model = onnx.load(path)
    (opset,) = (each.version for each in model.opset_import)
    counts = collections.Counter(node.op_type for node in model.graph.node)
    return {
        **stored_file(path),
        "inputs": [_describe_tensor(value) for value in model.graph.input],
        "outputs": [_describe_tensor(value) for value in model.graph.output],
        "operators": {
            name: {
                "count": counts[name],
                "versions": [onnx.defs.get_schema(name, opset).since_version],
            }
            for name in sorted(counts)
        },
    }


def _describe_tensor(value: Any) -> dict:
    shape = [each.dim_value for each in value.type.tensor_type.shape.dim]
    # The numbers of an int8 file are float32 at both ends.
    return {"shape": shape, "dtype": "float32", "scale": None, "zero_point": None}
