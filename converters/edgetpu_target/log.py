"""Reads what `edgetpu_compiler` prints, and the .log file that it writes next to its output.

Versions 2 to 16 are known from public transcripts; the compiler itself is closed source.
"""

import itertools
import re
from dataclasses import dataclass

from common.cli import UserError

_MAPPED = "Mapped to Edge TPU"
_VERSION = re.compile(r"^Edge TPU Compiler version (\S+)", re.MULTILINE)
_SUCCESS = re.compile(r"^Models? compiled successfully", re.MULTILINE)
_HEADER = re.compile(r"Operator\s+Count\s+Status")
_ROW = re.compile(r"(\S+)\s+(\d{1,15})\s+(\S.*)")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d+)?)(B|KiB|MiB|GiB)")
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
# Lines that say why it failed; all others report progress.
_TROUBLE = re.compile(
    r"^(?:ERROR: )?((?:Didn't find|Op builtin_code|Registration failed|Invalid model|"
    r"Model could not|terminating|Internal compiler error|Compilation failed|Error)[^\n]*)",
    re.MULTILINE | re.IGNORECASE,
)


@dataclass(frozen=True)
class OperatorStatus:
    """A row of the operation log.

    Attributes:
      name: the kind of operator, such as "CONV_2D".
      count: the number of operators with this status.
      status: the compiler's words.
    """

    name: str
    count: int
    status: str

    @property
    def mapped(self) -> bool:
        """Whether they run on the Edge TPU."""
        return self.status == _MAPPED


@dataclass(frozen=True)
class ModelLog:
    """What the compiler reports about one model; None is what it does not report.

    Attributes:
      operators: rows of the operation log; empty without `--show_operations`.
      total, mapped, on_cpu: numbers of operators.
      subgraphs: the number of parts that run on the Edge TPU.
      cached_bytes, remaining_bytes: on-chip memory used for weights, and still free.
      streamed_bytes: bytes of weights that are sent at every inference.
    """

    operators: tuple[OperatorStatus, ...]
    total: int | None
    mapped: int | None
    on_cpu: int | None
    subgraphs: int | None
    cached_bytes: int | None
    remaining_bytes: int | None
    streamed_bytes: int | None


@dataclass(frozen=True)
class CompilerOutput:
    """What one run of the compiler printed.

    Attributes:
      version: such as "16.0.384591198"; None if it is not printed.
      models: the log of each compiled model, in the given order.
      failure: why nothing was compiled, in the compiler's words; None after a success.
    """

    version: str | None
    models: tuple[ModelLog, ...]
    failure: str | None


def parse_output(text: str) -> CompilerOutput:
    """Reads what the compiler printed.

    Raises:
      UserError: the numbers of operators contradict each other.

    Examples:
      >>> parse_output(text).models[0].on_cpu
      0
    """
    text = text.replace("\r", "")
    version = _VERSION.search(text)
    blocks = re.split(r"(?m)^(?=Input model:)", text)[1:] if _SUCCESS.search(text) else []
    models = tuple(_parse_model(block) for block in blocks)
    return CompilerOutput(
        version=version and version[1],
        models=models,
        failure=None if models else _failure(text),
    )


def parse_operation_log(text: str) -> tuple[OperatorStatus, ...]:
    """Reads the table of an operation log, from a .log file or from `--show_operations`.

    Returns:
      The table's rows; empty if there is no table.

    Examples:
      >>> parse_operation_log(Path("model_edgetpu.log").read_text())[0].status
      'Mapped to Edge TPU'
    """
    # Without the blanks at the end, over which an expression would go once for each of them.
    lines = map(str.strip, text.splitlines())
    if not any(map(_HEADER.fullmatch, lines)):
        return ()
    next(lines, None)  # An empty line; another one ends the table.
    rows = map(_ROW.fullmatch, itertools.takewhile(bool, lines))
    return tuple(OperatorStatus(row[1], int(row[2]), row[3]) for row in rows if row)


def with_operators(model: ModelLog, operators: tuple[OperatorStatus, ...]) -> ModelLog:
    """Returns a model's log with the rows of its .log file.

    Raises:
      UserError: the rows contradict the numbers.
    """
    return _checked(ModelLog(**{**vars(model), "operators": operators}))


def _parse_model(block: str) -> ModelLog:
    total = _number(block, "Total number of operations")
    on_cpu = _number(block, "Number of operations that will run on CPU")
    mapped = _number(block, "Number of operations that will run on Edge TPU")
    # If all operators map, the compiler omits these two lines.
    if total is not None and on_cpu is None and mapped is None:
        mapped, on_cpu = total, 0
    return _checked(
        ModelLog(
            operators=parse_operation_log(block),
            total=total,
            mapped=mapped,
            on_cpu=on_cpu,
            subgraphs=_number(block, "Number of Edge TPU subgraphs"),
            cached_bytes=_bytes(block, "On-chip memory used for caching model parameters"),
            remaining_bytes=_bytes(block, "On-chip memory remaining for caching model parameters"),
            streamed_bytes=_bytes(
                block, "Off-chip memory used for streaming uncached model parameters"
            ),
        )
    )


def _checked(model: ModelLog) -> ModelLog:
    """Raises UserError unless the table and the totals agree."""
    rows = model.operators
    sums = {
        "total": sum(row.count for row in rows),
        "mapped": sum(row.count for row in rows if row.mapped),
    }
    for name, found in sums.items():
        said = getattr(model, name)
        if rows and said is not None and said != found:
            raise UserError(
                f"edgetpu_compiler's {name} number of operations is {said}, but its table has "
                f"{found}; this program cannot read this compiler's output, use version 16.0"
            )
    return model


def _failure(text: str) -> str:
    return "; ".join(line.strip() for line in _TROUBLE.findall(text)) or "it printed no reason"


def _number(block: str, label: str) -> int | None:
    value = _value(block, label)
    return int(value) if value and re.fullmatch(r"\d{1,15}", value) else None


def _bytes(block: str, label: str) -> int | None:
    size = _SIZE.fullmatch(_value(block, label) or "")
    return round(float(size[1]) * _UNITS[size[2]]) if size else None


def _value(block: str, label: str) -> str | None:
    found = re.search(rf"(?m)^{re.escape(label)}:([^\n]*)$", block)
    return found and found[1].strip()
