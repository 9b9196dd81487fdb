"""Converts a trained model to an artifact, a folder of files that devices run.

The artifact holds .tflite files, a manifest that describes them, class names and a few evaluation
images. The model is the classifier or the detector in a workdir, the folder that a training writes,
or any functional Keras 3 model in a .keras file.

Example:
  shufflenet convert --model=work --output=artifact --graph=deployment,canonical
  shufflenet convert --model=net.keras --data_dir=photos --output=artifact
"""

import functools
import shlex
import sys
from pathlib import Path

from absl import flags

from common import cli
from common.artifact import takes_pixels
from common.cli import UserError
from common.tflite import vela, vela_flags
from common.tflite.vela_settings import ACCELERATORS
from converters.conversion.config import ConversionConfig
from converters.edgetpu_target import flags as edgetpu_flags
from converters.edgetpu_target import pipeline
from converters.graph.targets import LOWERINGS
from converters.micro_target import firmware
from converters.micro_target import flags as micro_flags
from converters.micro_target import settings as micro_settings
from converters.options import DEFAULT_METHOD, IO_DTYPES, ONNX_LAYOUTS, ONNX_WEIGHT_BITS
from converters.source import flags as source_flags
from trainers.startup import import_tensorflow

_MODEL = flags.DEFINE_string(
    "model", None, "Workdir of a training (shufflenet train), or a .keras file."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the artifact; must be new or empty.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Where a workdir's data is, if it has moved since the training. For a .keras file: a folder of "
    "photographs that calibrate and check the files, in SPLIT/CLASS/, CLASS/ or without folders.",
)
_GRAPH = flags.DEFINE_list(
    "graph",
    ["deployment"],
    "Graphs to convert, separated by commas: deployment (the network rewritten: BatchNorm folded, "
    "and no channel shuffle that a convolution can absorb), canonical (the network as it is, as "
    "without this project: the baseline).",
)
_QUANTIZATION = flags.DEFINE_list(
    "quantization",
    ["none", "int8-ptq"],
    "Files to write for each graph, separated by commas: none (float32), float16 (weights), "
    "dynamic (int8 weights, float32 input and output), int8-ptq (all integer, calibrated), "
    "int8-qat (all integer, trained by shufflenet quantize), int16x8 (int16 activations, int8 "
    "weights, float32 input and output), onnx (float32) and onnx-int8 (calibrated, float32 input "
    "and output) as .onnx files. The last four need the deployment graph.",
)
_TARGET = flags.DEFINE_string(
    "target", "cpu", "Device to write the deployment graph for: " + ", ".join(LOWERINGS) + "."
)
_BATCH = flags.DEFINE_integer(
    "batch",
    1,
    "Examples per inference of every .tflite file; more than one only with --target=cpu.",
)
_IO_DTYPE = flags.DEFINE_string(
    "io_dtype",
    "int8",
    "Type of the input and output of int8 .tflite files: " + ", ".join(IO_DTYPES) + ".",
)
_ONNX_LAYOUT = flags.DEFINE_string(
    "onnx_layout",
    ONNX_LAYOUTS[0],
    "Input of .onnx files: nchw (batch, channels, height, width), which compilers for devices "
    "expect, or nhwc.",
)
_ONNX_WEIGHT_BITS = flags.DEFINE_integer(
    "onnx_weight_bits",
    ONNX_WEIGHT_BITS[0],
    "Of onnx-int8: 8, or 7 for x86 CPUs without VNNI, on which runtimes clip sums of products.",
)
_RANGES = flags.DEFINE_string(
    "ranges",
    DEFAULT_METHOD,
    "How int8-ptq and onnx-int8 choose the ranges of activations in the deployment graph: minmax, "
    "percentile (99.99% of the values), mse (least squared error of rounding and clipping).",
)
_QAT = flags.DEFINE_string(
    "qat", None, "Folder that shufflenet quantize has written; WORKDIR/qat by default."
)
_PLOT = flags.DEFINE_string(
    "plot", None, "Also draw the first stage, as trained and as deployed, into this .png file."
)
_SAMPLES = flags.DEFINE_integer(
    "samples", 300, "Evaluation images in the artifact, for accuracy on devices; 0 for none."
)
_CALIBRATION_IMAGES = flags.DEFINE_integer(
    "calibration_images", 256, "Training images for the ranges of activations."
)
_ACCELERATOR = flags.DEFINE_string(
    "accelerator",
    None,
    "With --target=ethosu: also compile the int8 files with Vela for one of "
    + ", ".join(ACCELERATORS)
    + ".",
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the output if it is an artifact.")
source_flags.define()
edgetpu_flags.define()
micro_flags.define()
vela_flags.define("With --accelerator: ")
# So that --help shows them.
flags.adopt_module_key_flags(source_flags)
flags.adopt_module_key_flags(edgetpu_flags)
flags.adopt_module_key_flags(micro_flags)
flags.adopt_module_key_flags(vela_flags)

_NO_PIXELS = (
    "does not take a camera's bytes as they are; compute its input as docs/artifact.md says, or "
    "train with --preprocessing=tf"
)
_DEVICE_SUMMARIES = {
    "edgetpu": pipeline.summary,
    "ethosu": vela.summary,
    "memory": micro_settings.summary,
    "micro": firmware.summary,
}


def main() -> None:
    """Reads the flags, converts and prints a line for each file."""
    for flag, what in ((_MODEL, "a workdir or a .keras file"), (_OUTPUT, "a folder")):
        if not flag.value:
            raise UserError(f"--{flag.name} is missing; give it {what}")
    config = ConversionConfig(
        model=Path(_MODEL.value),
        output=Path(_OUTPUT.value),
        data_dir=_DATA_DIR.value,
        graphs=tuple(_GRAPH.value),
        quantizations=tuple(_QUANTIZATION.value),
        target=_TARGET.value,
        batch=_BATCH.value,
        io_dtype=_IO_DTYPE.value,
        ranges=_RANGES.value,
        onnx_layout=_ONNX_LAYOUT.value,
        onnx_weight_bits=_ONNX_WEIGHT_BITS.value,
        qat=None if _QAT.value is None else Path(_QAT.value),
        plot=None if _PLOT.value is None else Path(_PLOT.value),
        samples=_SAMPLES.value,
        calibration_images=_CALIBRATION_IMAGES.value,
        accelerator=_ACCELERATOR.value,
        vela=vela_flags.read(),
        edgetpu=edgetpu_flags.read(),
        memory=micro_flags.read(),
        overwrite=_OVERWRITE.value,
    )
    given = source_flags.read()
    command = shlex.join(["shufflenet", "convert", *sys.argv[1:]])
    # Imported here, so that a wrong flag is reported before TensorFlow takes seconds to load.
    import_tensorflow()
    from converters.conversion.api import example_limit
    from converters.conversion.pipeline import convert_network
    from converters.source.opening import open_network

    opened = functools.partial(
        open_network, config.model, config.data_dir, given, example_limit(config)
    )
    say = functools.partial(print, flush=True)
    _print_summary(config.output, convert_network(opened, config, command, say))


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


def _print_summary(output: Path, manifest: dict) -> None:
    model = manifest["model"]
    macs = "unknown" if model["macs"] is None else f"{model['macs']:,}"
    print(
        f"{manifest['name']}: {model['parameters']:,} parameters, {macs} "
        f"multiply-adds{_accuracy(model)}{_images(model)}"
    )
    for name, entry in manifest["files"].items():
        operators = sum(operator["count"] for operator in entry["operators"].values())
        print(
            f"{output / name}: {entry['bytes']:,} bytes, {operators} operators"
            f"{_accuracy(entry, model)}, {_agreement(entry['agreement'])}"
        )
        for source, taken in zip(entry["inputs"], manifest["inputs"], strict=True):
            is_image = taken["preprocessing"] is not None and source["dtype"] == "uint8"
            if is_image and not takes_pixels(source, taken["preprocessing"]):
                print(f"warning: {name} {_NO_PIXELS}", file=sys.stderr)
        for device, summary in _DEVICE_SUMMARIES.items():
            if device in entry:
                print(f"  {device}: {summary(entry[device])}")
    checked = [entry["edgetpu"] for entry in manifest["files"].values() if "edgetpu" in entry]
    if remedy := pipeline.advice(checked):
        print(remedy)


def _accuracy(entry: dict, model: dict | None = None) -> str:
    """Returns how good a file is, next to the Keras model; of the model itself, without one."""
    if entry.get("ap") is not None:
        known = "" if model is None else f" of the Keras model's {model['ap']:.1%}"
        return f", AP {entry['ap']:.1%}{known}"
    return "" if entry["accuracy"] is None else f", accuracy {entry['accuracy']:.1%}"


def _images(model: dict) -> str:
    return f" on {model['accuracy_images']} images" if _accuracy(model) else ""


def _agreement(agreement: dict) -> str:
    if agreement["argmax"] is not None:
        return (
            f"same class as the Keras model {agreement['argmax']:.1%}, "
            f"rms error {agreement['rms']:.2g} standard deviations"
        )
    each = agreement.get("outputs", {"": agreement})
    errors = [f"{name} {found['rms']:.2g}".strip() for name, found in each.items()]
    return f"rms error {', '.join(errors)} standard deviations of the Keras model's outputs"


if __name__ == "__main__":
    entry_point()
