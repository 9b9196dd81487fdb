"""Writes measurements as one page: sortable tables, latency against accuracy, operators.

Example:
  shufflenet report measurements.jsonl profile/profile.jsonl --output=report.html
"""

from dataclasses import dataclass
from pathlib import Path

from absl import flags

from common import cli
from common.cli import UserError
from common.pages.html_page import check_packages
from edge.reporting.data import ReportData, by_group, read_report_data
from edge.reporting.page import write_sections
from edge.reporting.sections import sections

_OUTPUT = flags.DEFINE_string(
    "output", "report.html", "The page; it needs no other file and no network."
)
_TITLE = flags.DEFINE_string("title", "Measurements", "The page's title.")


@dataclass(frozen=True)
class ReportConfig:
    """The flags, checked."""

    measurements: tuple[Path, ...]
    output: Path
    title: str

    def __post_init__(self):
        if not self.measurements:
            raise UserError("name files of measurements, such as measurements.jsonl")
        if self.output.resolve() in [path.resolve() for path in self.measurements]:
            raise UserError(f"--output={self.output} would replace the measurements; name another")


def main(arguments: list[str]) -> None:
    """Reads the measurements and writes the page."""
    config = ReportConfig(tuple(map(Path, arguments)), Path(_OUTPUT.value), _TITLE.value)
    check_packages()
    data = read_report_data(config.measurements)
    for note in data.notes:
        print(f"note: {note}")
    folders = (Path(), *(path.parent for path in config.measurements))
    write_sections(
        config.output,
        config.title,
        sections(data, folders),
        introduction=_introduction(data),
        warnings=data.notes,
    )
    print(f"{config.output}: measurements {len(data.points)}, profiles {len(data.breakdowns)}")


def entry_point() -> None:
    """Starts the command."""
    cli.run_with_files(main)


def _introduction(data: ReportData) -> str:
    dates = sorted(filter(None, (point.text("date") for point in data.points)))
    when = f", made from {dates[0]} to {dates[-1]}" if dates else ""
    return (
        f"Measurements: {len(data.points)}, devices: {len(by_group(data.points))}{when}. "
        "Click on a point or a bar to see all its details."
    )


if __name__ == "__main__":
    entry_point()
