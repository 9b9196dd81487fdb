import re

import pytest

from edge.reporting.page import Column, Detail, Section, Table, figure_text, write_sections

HOSTILE = "</script><script>alert(1)</script>\"'&<b>"


@pytest.fixture(autouse=True)
def packages():
    pytest.importorskip("plotly", reason="needs keras_shufflenet[report]")


def page(tmp_path, *sections, **values):
    path = tmp_path / "page.html"
    write_sections(path, values.pop("title", "Title"), sections, **values)
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]
    text = path.read_text(encoding="utf-8")
    # Without plotly's own script, which has several megabytes.
    return re.sub(r"<script>/\*\*.*?</script>", "<script></script>", text, count=1, flags=re.S)


def test_tables_show_numbers_and_keep_them_for_sorting(tmp_path):
    columns = [Column("file"), Column("ms", 3), Column("bytes", 0)]
    table = Table(columns, [["a", 0.12345, 1234567], ["b", None, None]], ["first", ""])
    text = page(tmp_path, Section("Times", "A paragraph.", tables=[table]))
    assert '<td class="text"><a href="#first">a</a></td>' in text
    assert '<td data-number="0.12345">0.123</td>' in text
    assert '<td data-number="1234567">1,234,567</td>' in text
    assert '<td class="text">b</td>' in text and text.count('<td data-number="">-</td>') == 2
    assert "<h2>Times</h2>" in text and "<p>A paragraph.</p>" in text


def test_hostile_text_stays_text(tmp_path):
    from plotly import graph_objects

    figure = graph_objects.Figure(
        graph_objects.Bar(x=[1], y=[figure_text(HOSTILE)], customdata=[HOSTILE], name=HOSTILE)
    )
    table = Table([Column(HOSTILE), Column("n", 1)], [[HOSTILE, 1.0]], [HOSTILE])
    detail = Detail(HOSTILE, HOSTILE, HOSTILE, [(HOSTILE, HOSTILE)])
    section = Section(HOSTILE, HOSTILE, [figure], [table], [detail])
    text = page(tmp_path, section, title=HOSTILE, introduction=HOSTILE, warnings=[HOSTILE])
    assert "alert(1)" in text and "<script>alert" not in text
    # plotly.js, the plot, and the page's own.
    assert text.count("</script>") == text.count("<script") == 3
    assert 'href="#&lt;/script&gt;' in text


def test_tables_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"rows must have 1 cells, received: \['a', 1\]"):
        Table([Column("file")], [["a", 1]])
    with pytest.raises(ValueError, match="targets must be 1, received: 2"):
        Table([Column("file")], [["a"]], ["x", "y"])


def test_nothing_is_fetched(tmp_path):
    text = page(tmp_path, Section("Empty"))
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", text)
    assert '<meta name="viewport" content="width=device-width' in text


def test_markup_of_plotly_is_escaped():
    assert figure_text("a<b>&amp;") == "a&lt;b&gt;&amp;amp;"
