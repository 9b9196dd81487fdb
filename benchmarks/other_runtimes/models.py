"""One network in one of several runtimes, on one thread: image in, outputs out.

Each runtime has the settings that its makers recommend for one image at a time, and its input is in
place before the time starts. The packages are imported where they are used: any may be missing.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.measuring.results import installed_versions
from common.cli import UserError
from common.tflite.litert import LiteRTNetwork

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
        """Computes the outputs: what a benchmark times."""

    def output(self) -> np.ndarray:
        """Returns all float32 outputs in a row, the larger ones first: a classifier's logits."""


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


def infer(model: RuntimeModel, image: np.ndarray) -> np.ndarray:
    """Returns all outputs of a preprocessed float32 image (height, width, channels), in a row."""
    model.set_input(image[np.newaxis])
    model.run()
    return model.output()


class _LiteRT:
    def __init__(self, path: str):
        self._model = LiteRTNetwork(path)

    def set_input(self, image: np.ndarray) -> None:
        (source,) = self._model.inputs
        self._model.set_inputs([source.quantize(image)])

    def run(self) -> None:
        self._model.run()

    def output(self) -> np.ndarray:
        raw = self._model.output_arrays()
        return _in_a_row([t.dequantize(x) for t, x in zip(self._model.outputs, raw, strict=True)])


class _OnnxRuntime:
    def __init__(self, path: str):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # Otherwise CPUs without VNNI clip sums of products of int8.
        options.add_session_config_entry("session.x64quantprecision", "1")
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(path, options, providers=providers)
        # The outputs are bound, so that a run allocates and copies nothing.
        self._binding = self._session.io_binding()
        for output in self._session.get_outputs():
            self._binding.bind_output(output.name)

    def set_input(self, image: np.ndarray) -> None:
        self._binding.bind_cpu_input(self._session.get_inputs()[0].name, _channels_first(image))

    def run(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def output(self) -> np.ndarray:
        return _in_a_row(self._binding.copy_outputs_to_cpu())


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
        self._outputs = compiled.outputs
        self._request = compiled.create_infer_request()

    def set_input(self, image: np.ndarray) -> None:
        self._request.set_input_tensor(self._new_tensor(_channels_first(image)))

    def run(self) -> None:
        self._request.infer()

    def output(self) -> np.ndarray:
        return _in_a_row([self._request.get_tensor(output).data for output in self._outputs])


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
            raise UserError(
                f"ncnn cannot load {path} with its .bin file; write or fetch both again, or "
                "measure without ncnn (--runtimes)"
            )
        self._input, self._outputs = self._net.input_names()[0], self._net.output_names()

    def set_input(self, image: np.ndarray) -> None:
        # A variable keeps the array until it is copied: a Mat does not hold a reference to it.
        (pixels,) = _channels_first(image)
        self._image = self._new_mat(pixels).clone()

    def run(self) -> None:
        # An extractor remembers what it has computed: a new one for every inference.
        extractor = self._net.create_extractor()
        extractor.input(self._input, self._image)
        self._found = [extractor.extract(output)[1] for output in self._outputs]

    def output(self) -> np.ndarray:
        return _in_a_row([np.array(found) for found in self._found])


def _in_a_row(outputs: Sequence[np.ndarray]) -> np.ndarray:
    # Exporters and runtimes name and order a detector's outputs differently; their sizes differ.
    largest_first = sorted(outputs, key=np.size, reverse=True)
    return np.concatenate([np.ravel(output) for output in largest_first])


def _channels_first(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2))


_LOADERS: dict[str, Callable[[str], RuntimeModel]] = {
    "litert": _LiteRT,
    "onnxruntime": _OnnxRuntime,
    "openvino": _OpenVino,
    "ncnn": _Ncnn,
}
