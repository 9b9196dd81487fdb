"""Compares what several runtimes compute with the same int8 network, on real images.

The runtimes are the fake-quant simulation, LiteRT with XNNPACK, LiteRT's reference kernels and
TFLite Micro. The tables show how far apart their logits are, in LSB (steps of the integer output),
and the first layer that differs by more than 1 LSB.

Example:
  shufflenet agreement --model=work --output=work/agreement
  shufflenet agreement --model=net.keras --data_dir=photos
"""

from absl import flags

from common import cli, files
from converters.diagnosis import settings
from converters.source import flags as source_flags
from trainers.startup import import_tensorflow

settings.define(
    images=100,
    output="Folder for agreement.json and operators.txt; without it, the tables are only printed.",
)
# So that --help shows them.
flags.adopt_module_key_flags(settings)
flags.adopt_module_key_flags(source_flags)


def main() -> None:
    """Reads the flags, compares and prints the tables."""
    config = settings.read()
    # Imported here, so that a wrong flag is reported before TensorFlow takes seconds to load.
    import_tensorflow()
    from converters.diagnosis.agreement import measure, operator_table, summary
    from converters.diagnosis.quantized_network import load_quantized

    print(f"quantizing {config.model} and comparing on {config.images} images", flush=True)
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
