"""Reports where int8 loses accuracy, layer by layer, worst first.

Runs the fake-quantized deployment graph (the rewritten network that is converted) on real images,
with one tensor or one operator's weights quantized at a time, and with everything quantized, and
reports signal-to-noise ratios in decibels.

Example:
  shufflenet layer-error --model=work --output=work/layer_error
  shufflenet layer-error --model=net.keras --data_dir=photos
"""

from absl import flags

from common import cli, files
from converters.diagnosis import settings
from converters.source import flags as source_flags
from trainers.startup import import_tensorflow

settings.define(
    images=64,
    output="Folder for layer_error.json, .txt and .png; without it, the worst are only printed.",
)
# So that --help shows them.
flags.adopt_module_key_flags(settings)
flags.adopt_module_key_flags(source_flags)


def main() -> None:
    """Reads the flags, measures and prints the worst parts with advice."""
    config = settings.read()
    # Imported here, so that a wrong flag is reported before TensorFlow takes seconds to load.
    import_tensorflow()
    from converters.diagnosis.layer_error import measure, save_picture, summary, table
    from converters.diagnosis.quantized_network import load_quantized

    print(f"quantizing {config.model} and measuring on {config.images} images", flush=True)
    network = load_quantized(config)
    report = measure(network)
    print(summary(report))
    if config.output is not None:
        files.write_json(config.output / "layer_error.json", report.as_json())
        files.write_text(config.output / "layer_error.txt", table(report) + "\n")
        save_picture(report, list(network.graph.ops), config.output / "layer_error.png")
        print(f"every part: {config.output / 'layer_error.txt'}, .json and .png")


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
