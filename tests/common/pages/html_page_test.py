import builtins

import pytest
from plotly import graph_objects

from common.cli import UserError
from common.pages.html_page import check_output, check_packages, plot, write_page

TEMPLATE = (
    '{% extends "page.html" %}{% block title %}{{ name }}{% endblock %}'
    "{% block content %}<p>{{ name }}</p>{{ figure }}{% endblock %}"
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "own.html").write_text(TEMPLATE)
    return tmp_path


def written(folder, **values):
    write_page(folder / "page.html", folder, "own.html", values)
    return (folder / "page.html").read_text()


def test_text_is_escaped_and_plots_are_not(folder):
    figure = graph_objects.Figure(graph_objects.Scatter(y=[1, 2], name="</script><b>"))
    page = written(folder, name="<i>&", figure=plot(figure, "a"))
    assert "<p>&lt;i&gt;&amp;</p>" in page
    assert 'id="plot-a"' in page
    assert "</script><b>" not in page


def test_a_misspelt_name_is_an_error_and_leaves_no_page(folder):
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError, match="figure"):
        written(folder, name="a")
    assert [path.name for path in folder.iterdir()] == ["own.html"]


def test_a_missing_package_is_told_with_the_remedy(monkeypatch):
    real = builtins.__import__

    def without_plotly(name, *args, **kwargs):
        if name == "plotly":
            raise ImportError("gone", name="plotly")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_plotly)
    with pytest.raises(UserError, match=r"plotly is not installed.*\[report\]"):
        check_packages()


def test_a_file_that_is_no_page_is_not_replaced(tmp_path):
    path = tmp_path / "thesis.txt"
    path.write_text("years of work")
    with pytest.raises(UserError, match=r"thesis\.txt is not an HTML page"):
        check_output(path)
    path.write_text("<!DOCTYPE html>")
    check_output(path)
