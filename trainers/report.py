"""Compares trainings: python -m trainers.report WORKDIR… --output=report.html.

One HTML page that needs no other file and no network: curves, final numbers, and the settings in
which the runs differ. Runs that are still going are shown as far as they are.
"""

from pathlib import Path

from absl import flags

from common import cli, html_page
from trainers.reporting.page import write_report

_OUTPUT = flags.DEFINE_string("output", "report.html", "HTML file that is written.")


def main(workdirs: list[str]) -> None:
    """Reads the workdirs and writes the page."""
    if not workdirs:
        raise cli.UserError("no workdir is named; python -m trainers.report WORKDIR… --output=FILE")
    html_page.check_packages()
    write_report([Path(workdir) for workdir in workdirs], Path(_OUTPUT.value))
    print(f"{len(workdirs)} runs are compared in {_OUTPUT.value}")


def entry_point() -> None:
    """Runs the command."""
    cli.run_with_files(main)


if __name__ == "__main__":
    entry_point()
