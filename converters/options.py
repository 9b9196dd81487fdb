"""What a conversion can produce: graphs, quantizations and types, as data."""

# The quantizations of each graph. The canonical graph is the baseline: what most users would do.
GRAPHS: dict[str, tuple[str, ...]] = {
    "deployment": (
        "none",
        "float16",
        "dynamic",
        "int8-ptq",
        "int8-qat",
        "int16x8",
        "onnx",
        "onnx-int8",
    ),
    "canonical": ("none", "float16", "dynamic", "int8-ptq"),
}
QUANTIZATIONS = GRAPHS["deployment"]
# The quantizations whose activation ranges come from calibration images.
CALIBRATED = ("int8-ptq", "int16x8", "onnx-int8")
# The quantizations that Edge TPU and Ethos-U run: integer from end to end.
INTEGER = ("int8-ptq", "int8-qat")
# Types of the input and output of int8 files.
IO_DTYPES = ("int8", "uint8", "float32")
# The quantizations that are ONNX files (`converters.onnx_target`); all others are .tflite files.
ONNX = ("onnx", "onnx-int8")
# Inputs and outputs of ONNX files that are maps: channels first or last. First is ONNX's own order,
# which its operators have and compilers for devices expect.
ONNX_LAYOUTS = ("nchw", "nhwc")
# Bits of the weights of int8 ONNX files.
ONNX_WEIGHT_BITS = (8, 7)
# How calibration chooses a range (`converters.quantization.calibration`).
METHODS = ("minmax", "percentile", "mse")
DEFAULT_METHOD = "mse"
# Ranges from fewer images than this depend too much on which images they are.
MIN_CALIBRATION_IMAGES = 32
MAX_IMAGES = 1_000_000
# Examples per inference.
MAX_BATCH = 1024
