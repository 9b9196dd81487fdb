"""One self-contained HTML page with plots and tables: what the project's reports have in common.

It needs no TensorFlow, so that `edge` can use it; plotly and jinja2 come with the extra [report].
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import UserError
from common.files import check_replaceable, write_text

if TYPE_CHECKING:
    from markupsafe import Markup
    from plotly.graph_objects import Figure

_BASE = Path(__file__).with_name("templates")
# No logo, no upload to plotly's cloud: the page sends nothing anywhere.
_PLOT_CONFIG = {"displaylogo": False, "responsive": True, "showSendToCloud": False}
_FONT = {"family": "system-ui, sans-serif", "size": 13}
_MARGIN = {"l": 60, "r": 20, "t": 50, "b": 50}


def check_packages() -> None:
    """Checks that the packages of a page are installed; to be called before any long work.

    Raises:
      UserError: plotly or jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401
        import plotly  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{error.name} is not installed; the page needs it: "
            "pip install 'keras_shufflenet[report]'"
        ) from None


def plot(figure: "Figure", name: str) -> "Markup":
    """Returns a figure as HTML for a page; the page itself contains plotly.js, once.

    Args:
      figure: a plotly figure. Names in it may contain any characters: they cannot end the script.
      name: the HTML element's name, unique on the page, such as "loss".

    Examples:
      >>> write_page("report.html", folder, "report.html", {"loss": plot(figure, "loss")})
    """
    from markupsafe import Markup

    figure.update_layout(template="plotly_white", font=_FONT, margin=_MARGIN)
    return Markup(
        figure.to_html(
            full_html=False, include_plotlyjs=False, div_id=f"plot-{name}", config=_PLOT_CONFIG
        )
    )


def check_output(path: Path) -> None:
    """Raises UserError if `path` is a file that is no page, because it would be lost."""
    check_replaceable(path)
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if not file.read(64).lstrip().lower().startswith((b"<!doctype html", b"<html")):
                raise UserError(f"{path} is not an HTML page, so it is not replaced; name another")


def write_page(
    path: str | os.PathLike,
    folder: Path,
    template: str,
    values: dict[str, Any],
    plots: bool = True,
) -> None:
    """Writes a page that needs no other file and no network, whole or not at all.

    Args:
      path: the HTML file.
      folder: the template's folder.
      template: file in `folder` that begins with `{% extends "page.html" %}`, the skeleton in
        common/pages/templates, and fills its blocks `title` and `content`.
      values: for the template. All text is escaped, except what `plot` returns.
      plots: whether the page has plots; without them it is 4 megabytes smaller.

    Raises:
      UserError: plotly or jinja2 is not installed, or `path` is a file that is no page.
      OSError: the file cannot be written.

    Examples:
      >>> write_page("report.html", Path(__file__).with_name("templates"), "report.html", {})
    """
    check_packages()
    check_output(Path(path))
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    plotly_js = Markup(get_plotlyjs() if plots else "")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, _BASE]),
        autoescape=True,
        # A name that a template misspells is an error, not an empty cell.
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template)
    write_text(path, page.render(plotly_js=plotly_js, **values))
