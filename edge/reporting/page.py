"""A page of sections with plots, tables to sort and filter, and details to open.

`edge.report` and other reports use it to write their pages; `common.pages.html_page` has the
skeleton.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from common.pages.html_page import plot, write_page

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_FOLDER = Path(__file__).with_name("templates")
_TEMPLATE = "sections.html"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
      title: its header.
      digits: of its numbers, after the decimal point; None for a column of text.
    """

    title: str
    digits: int | None = None


@dataclass(frozen=True)
class Table:
    """Rows that a reader can sort with a click on a header, and filter by words.

    Attributes:
      columns: from left to right.
      rows: texts and numbers, as the columns say; None for a cell without a value.
      targets: for each row, the anchor of the `Detail` to which its first cell links; or empty.

    Raises:
      ValueError: the rows do not fit the columns, or the targets do not fit the rows.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str | float | None]]
    targets: Sequence[str] = ()

    def __post_init__(self):
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"rows must have {len(self.columns)} cells, received: {row}")
        if self.targets and len(self.targets) != len(self.rows):
            raise ValueError(f"targets must be {len(self.rows)}, received: {len(self.targets)}")


@dataclass(frozen=True)
class Detail:
    """The details of a point or a row: closed until a reader opens them or follows a link.

    Attributes:
      anchor: unique on the page. A click on a plot's point with this `customdata` opens it.
      title: always shown.
      text: preformatted.
      links: (anchor, text) of other details.
    """

    anchor: str
    title: str
    text: str
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Section:
    """A part of a page; empty parts are not shown.

    Attributes:
      title: its heading.
      text: a paragraph.
      figures: plotly figures. Text in them must be escaped with `figure_text`.
      tables: below the figures.
      details: below the tables.
    """

    title: str
    text: str = ""
    figures: Sequence["Figure"] = ()
    tables: Sequence[Table] = ()
    details: Sequence[Detail] = field(default=())


def write_sections(
    path: str | os.PathLike,
    title: str,
    sections: Sequence[Section],
    introduction: str = "",
    warnings: Sequence[str] = (),
) -> None:
    """Writes a page that needs no other file and no network, whole or not at all.

    Any text is allowed, because it is escaped.

    Args:
      path: the HTML file.
      title: the page's title.
      sections: from top to bottom.
      introduction: a paragraph below the title.
      warnings: shown before the first section.

    Raises:
      UserError: plotly or jinja2 is not installed.
      OSError: the file cannot be written.

    Examples:
      >>> table = Table([Column("network"), Column("ms", 3)], [["v2-1x", 0.83]])
      >>> write_sections("page.html", "Networks", [Section("Latency", tables=[table])])
    """
    plots = [
        [plot(figure, f"{number}-{index}") for index, figure in enumerate(section.figures)]
        for number, section in enumerate(sections)
    ]
    values = {
        "title": title,
        "introduction": introduction,
        "warnings": warnings,
        "sections": list(zip(sections, plots, strict=True)),
        "cell": _cell,
    }
    write_page(path, _FOLDER, _TEMPLATE, values)


def figure_text(text: str) -> str:
    """Returns text escaped for a figure, in which plotly would read <b> or <a> as markup.

    Examples:
      >>> figure_text("<b>int8</b>")
      '&lt;b&gt;int8&lt;/b&gt;'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cell(value: str | float | None, column: Column) -> str:
    """Returns a value as it is shown in its cell."""
    if value is None:
        return "-"
    return value if column.digits is None else f"{value:,.{column.digits}f}"
