"""All experiments, one after the other, and one page with their results.

A result that is there is kept if it is of the same device and settings: after a stop the same
command goes on where it was.

Example:
  python -m experiments.all --device=host --output=experiments_results
"""

from pathlib import Path

from absl import flags

from common import cli
from common.html_page import check_packages
from experiments import command
from trainers.startup import import_tensorflow

_EXPERIMENTS = flags.DEFINE_list(
    "experiments", None, "Names of experiments, separated by commas; all by default."
)
_FRESH = flags.DEFINE_bool("fresh", False, "Do again what has its result already.")
_MODEL = flags.DEFINE_string(
    "model", None, "For feature_reuse: workdir of trainers.train or .keras file of a ShuffleNetV2."
)
_DOCUMENT = flags.DEFINE_string(
    "document",
    None,
    "Folder with a page NAME.md for each experiment: what lies between <!-- NAME: begin --> and "
    "<!-- NAME: end --> is replaced; pictures and JSON files lie beside the pages.",
)
command.define_flags()


def main() -> None:
    """Reads the flags, does what is not done yet, and writes the page."""
    settings = command.read_settings()
    check_packages()
    # Only now, because it needs those packages.
    from experiments.series import SeriesConfig, run_series

    config = SeriesConfig(
        settings=settings,
        names=_EXPERIMENTS.value,
        fresh=_FRESH.value,
        model=_optional_path(_MODEL.value),
        document=_optional_path(_DOCUMENT.value),
    )
    import_tensorflow()
    print(run_series(config))


def _optional_path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


if __name__ == "__main__":
    cli.run(main)
