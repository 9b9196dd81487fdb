"""Markdown documents with sections, between two markers each, that a command fills in."""

from pathlib import Path

from common.cli import UserError
from common.storage.readers import read_text


def read_document(path: Path) -> str:
    """Returns a document's text.

    Raises:
      UserError: it does not exist, or is not a plain text file.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; name the document with --document")
    return read_text(path, "name another with --document")


def replace_section(text: str, name: str, content: str) -> str:
    """Returns `text` with `content` between the markers of `name`.

    Raises:
      UserError: the markers are missing.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise UserError(f"the document lacks the lines {begin!r} and {end!r}; add them")
    return f"{before}{begin}\n{content}\n{end}{after}"
