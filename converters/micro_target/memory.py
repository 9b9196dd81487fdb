"""Reports where TFLite Micro's arena goes: operator by operator, and in its own tables."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from common.console.table import markdown_table
from common.files import atomic_write, write_text
from common.tflite.micro_runtime import Allocations, MicroRuntime
from converters.micro_target.costs import live_bytes
from converters.micro_target.flat_graph import CODE, FlatGraph

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TABLE, PICTURE = "memory.md", "memory.png"
_NAMES = {code: name for name, code in vars(CODE).items() if isinstance(code, int)}
_KIB = 1024


class Moment(NamedTuple):
    """What is in memory while an operator runs.

    Attributes:
      operator: its name in the schema.
      shape: its first output's, with the batch.
      bytes: of all tensors that are needed then.
    """

    operator: str
    shape: tuple[int, ...]
    bytes: int


def moments(content: bytes) -> list[Moment]:
    """Returns what the tensors of a file need, operator by operator.

    Examples:
      >>> max(moments(path.read_bytes()), key=lambda moment: moment.bytes).operator
      'CONV_2D'
    """
    graph = FlatGraph(content)
    needed = live_bytes(graph, graph.operators, graph.outputs, graph.inputs)
    return [
        Moment(_NAMES[graph.code(operator)], graph.shape(int(operator.outputs[0])), size)
        for operator, size in zip(graph.operators, needed, strict=True)
    ]


def write_report(content: bytes, folder: Path) -> None:
    """Writes `memory.md`, a table, and `memory.png`, a picture of it, into a folder.

    Args:
      content: of a .tflite file.
      folder: an existing folder.

    Raises:
      UserError: TFLite Micro is not installed, or refuses the file.
    """
    # Imported here: the command's flags are read long before anything is drawn.
    from matplotlib.figure import Figure

    found, rows = MicroRuntime(content).allocations(), moments(content)
    write_text(folder / TABLE, report(found, rows))
    figure = Figure(figsize=(10, 4), layout="constrained")
    _draw(figure.subplots(), found, rows)
    with atomic_write(folder / PICTURE) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def report(found: Allocations, rows: list[Moment]) -> str:
    """Returns the arena's parts and the operators' memory as markdown."""
    peak = max(row.bytes for row in rows)
    parts = {"feature maps": found.head, **found.tables}
    # What its recording does not name, such as the kernels' own data.
    parts["other structures"] = found.total - sum(parts.values())
    operators = [
        [
            str(at),
            row.operator,
            "x".join(map(str, row.shape[1:])),
            f"{row.bytes:,}",
            _bar(row, peak),
        ]
        for at, row in enumerate(rows)
    ]
    return "\n".join(
        [
            "# Where the arena goes",
            "",
            f"{found.total:,} bytes, measured by TFLite Micro's interpreter with 64-bit pointers.",
            "",
            markdown_table(["part", "bytes"], [[name, f"{n:,}"] for name, n in parts.items()]),
            "",
            f"The tensors need {peak:,} bytes at least, with the operators in this order; what the "
            "interpreter's planner takes is in the first row above.",
            "",
            markdown_table(["", "operator", "output", "bytes needed", ""], operators),
            "",
        ]
    )


def _bar(row: Moment, peak: int) -> str:
    return "█" * round(20 * row.bytes / peak)


def _draw(axis: "Axes", found: Allocations, rows: list[Moment]) -> None:
    tables = (found.total - found.head) / _KIB
    sizes = [row.bytes / _KIB for row in rows]
    places = range(len(rows))
    axis.bar(places, [tables] * len(rows), width=1, color="#7f7f7f", label="interpreter's tables")
    axis.bar(places, sizes, width=1, bottom=tables, color="#1f77b4", label="tensors needed")
    axis.axhline(found.total / _KIB, color="#d62728", label="arena, as planned")
    axis.set(xlabel="operator", ylabel="KiB", xlim=(-0.5, len(rows) - 0.5))
    axis.legend(loc="upper right")
