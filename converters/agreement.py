"""Compares what the runtimes compute from one int8 network, on real images.

Fake-quant simulation, LiteRT with XNNPACK, LiteRT's reference kernels and TFLite Micro: how far
apart their logits are, and the first layer that differs by more than its last bit.

Example:
  python -m converters.agreement --model=work --output=work/agreement
"""

from pathlib import Path

from absl import flags

from converters.config import DEFAULT_METHOD, METHODS
from converters.report_config import ReportConfig
from converters.targets import FORMS
from trainers import cli, files
from trainers.cli import UserError
from trainers.startup import import_tensorflow

_MODEL = flags.DEFINE_string("model", None, "Workdir of a float training (trainers.train).")
_QAT = flags.DEFINE_string(
    "qat", None, "Folder of its quantization-aware training; calibrated ranges without."
)
_TARGET = flags.DEFINE_string(
    "target", None, f"Form of the deployment graph: {', '.join(FORMS)} (cpu)."
)
_RANGES = flags.DEFINE_string(
    "ranges", None, f"How calibration chooses ranges: {', '.join(METHODS)} ({DEFAULT_METHOD})."
)
_IMAGES = flags.DEFINE_integer("images", 100, "Evaluation images, or all there are.")
_CALIBRATION_IMAGES = flags.DEFINE_integer(
    "calibration_images", 256, "Training images from which ranges are taken."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder for agreement.json and operators.txt; without, the tables are printed."
)


def main() -> None:
    """Reads the flags, compares and prints the tables."""
    if not _MODEL.value:
        raise UserError("--model is missing; name the workdir of a training")
    config = ReportConfig(
        model=Path(_MODEL.value),
        qat=Path(_QAT.value) if _QAT.value else None,
        target=_TARGET.value,
        ranges=_RANGES.value,
        images=_IMAGES.value,
        calibration_images=_CALIBRATION_IMAGES.value,
        output=Path(_OUTPUT.value) if _OUTPUT.value else None,
    )
    # Before minutes of work, not after.
    if config.output is not None:
        config.output.mkdir(parents=True, exist_ok=True)
    # Only now, so that a wrong flag is told without seconds of waiting for TensorFlow.
    import_tensorflow()
    from converters.agreement_report import measure, operator_table, summary
    from converters.quantized_workdir import load_quantized

    report = measure(load_quantized(config))
    print(summary(report))
    if config.output is not None:
        files.write_json(config.output / "agreement.json", report.as_json())
        files.write_text(config.output / "operators.txt", operator_table(report) + "\n")
        print(f"every operator: {config.output / 'operators.txt'}, {config.output}/agreement.json")


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
