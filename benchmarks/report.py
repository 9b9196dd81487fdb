"""What benchmarks leave behind: a JSON file, and a table between two markers of a document."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edge.measurement import describe_machine, now
from trainers.cli import UserError
from trainers.files import write_json, write_text

# Above this share of the cores at work before a benchmark starts, its record warns.
BUSY = 0.5


def describe_run(command: str, versions: dict[str, str]) -> dict:
    """Returns what a result depends on: date, command, machine and versions.

    Call it before measuring: `warning` then says whether others were using the machine.
    """
    machine = describe_machine()
    load, cores = (machine["load_average"] or [0.0])[0], machine["cores"] or 1
    busy = load > BUSY * cores
    return {
        "schema_version": 1,
        "date": now(),
        "command": command,
        "machine": machine,
        "versions": versions,
        "warning": f"{load:.1f} processes were running on {cores} cores before it started"
        if busy
        else None,
    }


def write_results(output: Path, document: Path, name: str, run: dict, table: str) -> None:
    """Writes `output`/`name`.json and the table into the document's place for `name`.

    Args:
      output: folder of the JSON files.
      document: markdown with the lines `<!-- name: begin -->` and `<!-- name: end -->`.
      name: such as "latency".
      run: all that was measured, JSON values, with what `describe_run` gives.
      table: markdown.

    Raises:
      UserError: the document is missing or lacks the markers.
    """
    text = replace_section(read_document(document), name, f"{table}\n\n{describe(run)}")
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / f"{name}.json", run)
    write_text(document, text)


def read_document(path: Path) -> str:
    """Returns a document's text.

    Raises:
      UserError: it is missing.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there; name the document with --document")
    return path.read_text(encoding="utf-8")


def replace_section(text: str, name: str, content: str) -> str:
    """Returns `text` with what lies between the markers of `name` replaced.

    Raises:
      UserError: the markers are missing.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise UserError(f"the document lacks the lines {begin!r} and {end!r}; add them")
    return f"{before}{begin}\n{content}\n{end}{after}"


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a markdown table, its first column to the left and the others to the right.

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


def interval(
    values: Mapping[str, float], digits: int = 3, bold: bool = False, unit: str = ""
) -> str:
    """Returns a median with its 10th and 90th percentile, as in "0.83 (0.80-0.90)"."""
    median = f"{values['median']:.{digits}f}{unit}"
    median = f"**{median}**" if bold else median
    return f"{median} ({values['p10']:.{digits}f}-{values['p90']:.{digits}f})"


def describe(run: dict) -> str:
    """Returns in words what a table was measured on."""
    machine = run["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['litert']}, {versions}; "
        f"{run['date']}.",
        f"`{run['command']}`",
    ]
    if run["warning"]:
        lines.insert(1, f"**Not a quiet machine**: {run['warning']}.")
    return "\n\n".join(lines)
