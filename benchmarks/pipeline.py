"""Measures only the input pipeline: ours, plain tf.data ones, and PyTorch's DataLoader.

All read the same JPEG files on the same cores, with as many threads or processes as cores, in
interleaved rounds and fresh processes. The extra [bench-torch] installs PyTorch and torchvision.

Example:
  python -m benchmarks.pipeline --rounds=3
"""

from pathlib import Path

from absl import flags

from benchmarks.input_pipeline.comparison import PipelineConfig, compare, pipelines_table
from benchmarks.input_pipeline.settings import PIPELINES, SETTINGS
from benchmarks.measuring.results import LAST_CORE, Destination, define_flags, installed_versions
from common import cli
from common.choices import choose, whole_numbers

_SETTINGS = flags.DEFINE_list("settings", None, f"Some of {', '.join(SETTINGS)}; all by default.")
_PIPELINES = flags.DEFINE_list(
    "pipelines", None, f"Some of {', '.join(PIPELINES)}; all by default."
)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds; each runs every pipeline.", lower_bound=1)
_SECONDS = flags.DEFINE_float(
    "seconds",
    6,
    "About how many seconds a pipeline reads per round; the first half is not counted.",
    lower_bound=0.1,
)
_CORES = flags.DEFINE_list("cores", ["0", "1"], "CPU cores to run on, separated by commas.")
_CACHE = flags.DEFINE_string(
    "cache", "build/benchmarks", "Folder for the images, kept for the next run."
)
define_flags("pipeline")

_PACKAGES = ("tensorflow", "torch", "torchvision", "pillow")


def main() -> None:
    """Reads the flags, measures, and writes the JSON file and the table."""
    destination = Destination.from_flags("pipeline")
    config = PipelineConfig(
        settings=choose("setting", _SETTINGS.value, SETTINGS),
        pipelines=choose("pipeline", _PIPELINES.value, PIPELINES),
        rounds=_ROUNDS.value,
        seconds=_SECONDS.value,
        cores=whole_numbers("cores", _CORES.value, 0, LAST_CORE),
        cache=Path(_CACHE.value),
    )
    run = destination.start(_versions(config.pipelines), noisy="rates")
    run["settings"] = compare(config)
    destination.write(run, pipelines_table(run["settings"]))


def _versions(pipelines: tuple[str, ...]) -> dict[str, str]:
    """Returns the packages' versions; PyTorch's only if its pipelines are measured."""
    needs_torch = any(name.startswith("PyTorch") for name in pipelines)
    return installed_versions(
        [package for package in _PACKAGES if needs_torch or not package.startswith("torch")],
        "pip install 'keras_shufflenet[bench-torch]', or name --pipelines without PyTorch's",
    )


if __name__ == "__main__":
    cli.run(main)
