"""What a conversion can be asked for: graphs, quantizations and types, as data."""

# By graph: what a file of it can be. The canonical graph is a baseline: what most users would do.
GRAPHS: dict[str, tuple[str, ...]] = {
    "deployment": ("none", "float16", "dynamic", "int8-ptq", "int8-qat", "int16x8"),
    "canonical": ("none", "float16", "dynamic", "int8-ptq"),
}
QUANTIZATIONS = GRAPHS["deployment"]
# Those whose activations have ranges from calibration images.
CALIBRATED = ("int8-ptq", "int16x8")
# Those that Edge TPU and Ethos-U run: integer from end to end.
INTEGER = ("int8-ptq", "int8-qat")
# Of the input and output of int8 files.
IO_DTYPES = ("int8", "uint8", "float32")
# How calibration chooses a range (converters.quantization.calibration).
METHODS = ("minmax", "percentile", "mse")
DEFAULT_METHOD = "mse"
# Ranges from fewer images than this are accidents of those images.
MIN_CALIBRATION_IMAGES = 32
