"""One page with the results of all experiments."""

import base64
import re
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup, escape

from common.pages.html_page import write_page
from experiments.harness.results import measured_on

_TEMPLATES = Path(__file__).with_name("templates")


def write_index(folder: Path, records: Sequence[dict], failures: Sequence[str] = ()) -> Path:
    """Writes `index.html`, which needs no other file and no internet connection.

    Args:
      folder: of the results, with their pictures.
      records: of the results, as `experiments.harness.results.load` returns them.
      failures: which experiments failed, one line each.

    Returns:
      The page's path.

    Raises:
      UserError: plotly or jinja2 is not installed.
    """
    sections = [
        {
            **record,
            "images": [
                {"title": picture["title"], "source": _inline(folder / picture["file"])}
                for picture in record["pictures"]
            ],
            "verdicts": [_marked(text) for text in record["verdicts"]],
            "tables": [{**table, "note": _marked(table["note"])} for table in record["tables"]],
            "measured_on": [_marked(line) for line in measured_on(record["run"])],
        }
        for record in records
    ]
    path = folder / "index.html"
    values = {"sections": sections, "failures": list(failures)}
    write_page(path, _TEMPLATES, "experiments.html", values, plots=False)
    return path


def _marked(text: str) -> Markup:
    """Returns text as HTML; of markdown only **bold** and `code`."""
    html = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", str(escape(text)))
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", html))


def _inline(path: Path) -> str:
    """Returns a picture as a data URL."""
    return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"
