"""Tables: aligned for a terminal, and in markdown."""

from collections.abc import Sequence


def format_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], left_columns: int = 2
) -> str:
    """Returns an aligned table as text; numbers are right-aligned.

    Args:
      headers: one title per column.
      rows: cells as text, one for each header.
      left_columns: how many of the first columns are left-aligned.

    Raises:
      ValueError: a row does not have one cell for each header.

    Examples:
      >>> print(format_table(["file", "device", "ms"], [["a.tflite", "host", "1.5"]]))
      file      device   ms
      a.tflite  host    1.5
    """
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"rows must have {len(headers)} cells, received: {list(row)}")
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    return "\n".join(_format_row(row, widths, left_columns) for row in (headers, *rows))


def _format_row(cells: Sequence[str], widths: Sequence[int], left_columns: int) -> str:
    aligned = [
        cell.ljust(width) if column < left_columns else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a markdown table: the first column is left-aligned, the others right-aligned.

    Examples:
      >>> print(markdown_table(["network", "ms"], [["v2-1x", "0.83"]]))
      | network | ms |
      |---|---:|
      | v2-1x | 0.83 |
    """
    lines = [headers, ["---", *["---:"] * (len(headers) - 1)], *rows]
    rule = 1
    return "\n".join(
        f"|{'|'.join(cells)}|" if index == rule else f"| {' | '.join(cells)} |"
        for index, cells in enumerate(lines)
    )
