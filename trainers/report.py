"""Compares trainings on one HTML page.

Example:
  shufflenet training-report WORKDIR… --output=report.html

A WORKDIR is a folder that `shufflenet train` wrote. The page needs no other file and no network
connection. It shows curves, final numbers and the settings in which the runs differ. Unfinished
runs are shown up to their last evaluation.
"""

from pathlib import Path

from absl import flags

from common import cli
from common.pages import html_page
from trainers.reporting.page import write_report

_OUTPUT = flags.DEFINE_string("output", "report.html", "HTML file to write.")


def main(workdirs: list[str]) -> None:
    """Reads the workdirs and writes the page."""
    if not workdirs:
        raise cli.UserError(
            "no workdir is named; shufflenet training-report WORKDIR… --output=FILE"
        )
    html_page.check_packages()
    write_report([Path(workdir) for workdir in workdirs], Path(_OUTPUT.value))
    print(f"{len(workdirs)} runs are compared in {_OUTPUT.value}")


def entry_point() -> None:
    """Runs the command."""
    cli.run_with_files(main)


if __name__ == "__main__":
    entry_point()
