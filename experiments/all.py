"""Runs all experiments, one after the other, and writes one page with their results.

An existing result is kept if its device and settings are the same: after a stop, run the same
command again and it resumes where it stopped.

Example:
  python -m experiments.all --device=host --output=experiments_results
"""

from pathlib import Path

from absl import flags

from common import cli
from common.pages.html_page import check_packages
from experiments import command
from trainers.startup import import_tensorflow

_EXPERIMENTS = flags.DEFINE_list(
    "experiments", None, "Names of experiments, separated by commas; all by default."
)
_FRESH = flags.DEFINE_bool("fresh", False, "Run experiments again that have a result already.")
_MODEL = flags.DEFINE_string(
    "model",
    None,
    "For feature_reuse: a trained ShuffleNetV2, as the --workdir of `shufflenet train` or a .keras "
    "file.",
)
_DOCUMENT = flags.DEFINE_string(
    "document",
    None,
    "Folder with a page NAME.md for each experiment: the text between <!-- NAME: begin --> and "
    "<!-- NAME: end --> is replaced; pictures and JSON files are written next to the pages.",
)
command.define_flags()


def main() -> None:
    """Reads the flags, runs the experiments that have no result yet, and writes the page."""
    settings = command.read_settings()
    check_packages()
    # Only now, because this import needs the packages that were checked.
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
