"""Whether the packages of the extra [onnx] are there, asked before anything is loaded."""

import importlib.util

from common.cli import UserError

_PACKAGES = ("onnx", "onnxruntime")


def check_packages() -> None:
    """Raises UserError unless the packages that write and check ONNX files are installed."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"ONNX files need {' and '.join(missing)}; pip install 'keras_shufflenet[onnx]', or "
            "convert without the quantizations that begin with onnx"
        )
