"""The settings of an experiment, and the parts of its result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from common.cli import UserError
from edge.devices import DEFAULT_OPTIONS, DEVICES

# A ShuffleNet is measured as both graphs; other networks only as the first.
GRAPHS = ("canonical", "deployment")


@dataclass(frozen=True)
class Settings:
    """What all experiments share: the flags of `experiments.command`.

    Attributes:
      device: a key of `edge.devices.DEVICES`.
      output: folder of the results.
      cache: folder of converted networks, kept.
      passes: how often everything is measured; the spread is that of the passes.
      runs: timed inferences of a file in a pass, at most.
      seconds: on the host, a file's runs in a pass end after this time, but not before three runs.
      options: of the device, as in `edge.devices.Job`.

    Raises:
      UserError: an unknown device, several devices, or a number is below its minimum.
    """

    device: str = "host"
    output: Path = Path("experiments_results")
    cache: Path = Path("build/experiments")
    passes: int = 5
    runs: int = 30
    seconds: float = 0.2
    options: Mapping[str, Any] = field(default_factory=lambda: DEFAULT_OPTIONS)

    def __post_init__(self):
        if self.device not in DEVICES:
            raise UserError(f"--device must be one of {', '.join(DEVICES)}; got {self.device!r}")
        for name, low in {"passes": 2, "runs": 1, "seconds": 0}.items():
            # NaN is not, either.
            if not low <= getattr(self, name) <= 1e6:
                raise UserError(f"--{name} must be at least {low}; got {getattr(self, name)}")
        for name in ("serial", "delegates"):
            if len(self.options[name]) > 1:
                raise UserError(
                    f"--{name} must be one value in an experiment; got "
                    f"{','.join(self.options[name])}"
                )


@dataclass(frozen=True)
class Table:
    """Cells as text: the first column names the row, the others are numbers.

    Attributes:
      title: includes the paper's table, such as "V2 Table 5".
      headers: one per column.
      rows: cells as text, one per header.
      note: what a reader must know about it, or ""; only ** and ` of markdown.
    """

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure of matplotlib.

    Attributes:
      name: of its file, after the experiment's name: "fig4" gives feature_reuse_fig4.svg.
      title: its caption.
      figure: made with `matplotlib.figure.Figure`, never with pyplot, which keeps its figures.
    """

    name: str
    title: str
    figure: Figure


@dataclass(frozen=True)
class Result:
    """What an experiment found.

    Attributes:
      tables: the papers' figures next to ours.
      verdicts: what the tables show, one sentence each; only ** and ` of markdown.
      pictures: of the same results.
      data: all figures, not rounded, as JSON values.
    """

    tables: Sequence[Table]
    verdicts: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
