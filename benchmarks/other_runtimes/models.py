"""One network in one of several runtimes, on one thread: image in, logits out.

Each runtime has the settings that its makers recommend for one image at a time, and its input is in
place before the time starts. The packages are imported where they are used: any may be missing.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.measuring.results import installed_versions
from common.cli import UserError
from common.tflite.litert import LiteRTModel

# By runtime: the packages that it needs, including its quantizer and its file format.
PACKAGES = {
    "onnxruntime": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "openvino", "nncf"),
    "ncnn": ("ncnn",),
}


class RuntimeModel(Protocol):
    """A loaded network."""

    def set_input(self, image: np.ndarray) -> None:
        """Copies a preprocessed float32 image (1, height, width, channels) into the input."""

    def run(self) -> None:
        """Computes the logits: what a benchmark times."""

    def output(self) -> np.ndarray:
        """Returns the float32 logits (classes,)."""


def versions(runtimes: Sequence[str]) -> dict[str, str]:
    """Returns the versions of the packages that the runtimes need.

    Raises:
      UserError: some are not installed.
    """
    return installed_versions(
        dict.fromkeys(name for runtime in runtimes for name in PACKAGES[runtime]),
        "pip install 'keras_shufflenet[bench]', or name the installed runtimes with --runtimes",
    )


def load(runtime: str, path: str) -> RuntimeModel:
    """Returns a file loaded into "litert" or into a runtime of `PACKAGES`."""
    return _LOADERS[runtime](path)


class _LiteRT:
    def __init__(self, path: str):
        self._model = LiteRTModel(path)

    def set_input(self, image: np.ndarray) -> None:
        self._model.set_input(self._model.quantize_input(image))

    def run(self) -> None:
        self._model.run()

    def output(self) -> np.ndarray:
        return self._model.dequantize_output(self._model.output())[0]


class _OnnxRuntime:
    def __init__(self, path: str):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # Otherwise CPUs without VNNI clip sums of products of int8.
        options.add_session_config_entry("session.x64quantprecision", "1")
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(path, options, providers=providers)
        # The output is bound, so that a run allocates and copies nothing.
        self._binding = self._session.io_binding()
        self._binding.bind_output(self._session.get_outputs()[0].name)

    def set_input(self, image: np.ndarray) -> None:
        self._binding.bind_cpu_input(self._session.get_inputs()[0].name, _channels_first(image))

    def run(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def output(self) -> np.ndarray:
        return self._binding.copy_outputs_to_cpu()[0][0]


class _OpenVino:
    def __init__(self, path: str):
        import openvino

        self._new_tensor = openvino.Tensor
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": 1,
            # Otherwise some CPUs compute the operators that are not quantized in bfloat16.
            "INFERENCE_PRECISION_HINT": "f32",
            # The process is pinned to its core already.
            "ENABLE_CPU_PINNING": False,
        }
        compiled = openvino.Core().compile_model(path, "CPU", settings)
        self._request = compiled.create_infer_request()

    def set_input(self, image: np.ndarray) -> None:
        self._request.set_input_tensor(self._new_tensor(_channels_first(image)))

    def run(self) -> None:
        self._request.infer()

    def output(self) -> np.ndarray:
        return np.array(self._request.get_output_tensor().data[0])


class _Ncnn:
    def __init__(self, path: str):
        import ncnn

        self._new_mat = ncnn.Mat
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads = 1
        # Otherwise ncnn stores weights in float16 if the CPU can convert them: no faster here.
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        weights = str(Path(path).with_suffix(".bin"))
        if self._net.load_param(path) or self._net.load_model(weights):
            raise UserError(f"ncnn cannot load {path}; measure without it (--runtimes)")
        self._input, self._output = self._net.input_names()[0], self._net.output_names()[0]

    def set_input(self, image: np.ndarray) -> None:
        # A variable keeps the array until it is copied: a Mat does not hold a reference to it.
        (pixels,) = _channels_first(image)
        self._image = self._new_mat(pixels).clone()

    def run(self) -> None:
        # An extractor remembers what it has computed: a new one for every inference.
        extractor = self._net.create_extractor()
        extractor.input(self._input, self._image)
        _, self._logits = extractor.extract(self._output)

    def output(self) -> np.ndarray:
        return np.array(self._logits)


def _channels_first(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2))


_LOADERS: dict[str, Callable[[str], RuntimeModel]] = {
    "litert": _LiteRT,
    "onnxruntime": _OnnxRuntime,
    "openvino": _OpenVino,
    "ncnn": _Ncnn,
}
