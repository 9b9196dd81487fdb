import pytest

from common.cli import UserError
from common.document import read_document, replace_section

DOCUMENT = "# Title\n<!-- latency: begin -->\nold\n<!-- latency: end -->\nrest\n"


def test_only_the_named_section_is_replaced():
    replaced = replace_section(DOCUMENT, "latency", "new")
    assert replaced == DOCUMENT.replace("old", "new")
    assert replace_section(replaced, "latency", "old") == DOCUMENT


def test_a_document_without_markers_is_named():
    with pytest.raises(UserError, match=r"lacks the lines .*cycles: begin"):
        replace_section(DOCUMENT, "cycles", "new")


def test_a_document_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"page\.md does not exist"):
        read_document(tmp_path / "page.md")
