"""What a conversion can produce: graphs, quantizations and types, as data."""

# The quantizations of each graph. The canonical graph is the baseline: what most users would do.
GRAPHS: dict[str, tuple[str, ...]] = {
    "deployment": ("none", "float16", "dynamic", "int8-ptq", "int8-qat", "int16x8"),
    "canonical": ("none", "float16", "dynamic", "int8-ptq"),
}
QUANTIZATIONS = GRAPHS["deployment"]
# The quantizations whose activation ranges come from calibration images.
CALIBRATED = ("int8-ptq", "int16x8")
# The quantizations that Edge TPU and Ethos-U run: integer from end to end.
INTEGER = ("int8-ptq", "int8-qat")
# Types of the input and output of int8 files.
IO_DTYPES = ("int8", "uint8", "float32")
# How calibration chooses a range (`converters.quantization.calibration`).
METHODS = ("minmax", "percentile", "mse")
DEFAULT_METHOD = "mse"
# Ranges from fewer images than this depend too much on which images they are.
MIN_CALIBRATION_IMAGES = 32
MAX_IMAGES = 1_000_000
