"""What benchmarks leave behind: a JSON file, and a table between two markers of a document."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.document import read_document, replace_section
from common.files import write_json, write_text
from edge.provenance import describe


@dataclass(frozen=True)
class Destination:
    """Where a benchmark's results go: the flags of `benchmarks.measuring.result_flags`.

    Attributes:
      name: of the benchmark, such as "latency".
      output: folder of the JSON file, `name`.json.
      document: markdown with the lines `<!-- name: begin -->` and `<!-- name: end -->`.
      command: that measures the same again.
    """

    name: str
    output: Path
    document: Path
    command: str

    def write(self, run: dict, table: str) -> None:
        """Writes the JSON file and the table into the document's place, and prints the table.

        Args:
          run: all that was measured, JSON values, with what `describe_run` gives.
          table: markdown.

        Raises:
          UserError: the document is missing or lacks the markers.
        """
        content = f"{table}\n\n{describe(run)}"
        text = replace_section(read_document(self.document), self.name, content)
        self.output.mkdir(parents=True, exist_ok=True)
        write_json(self.output / f"{self.name}.json", run)
        write_text(self.document, text)
        print(table)


def spread(ratios: np.ndarray) -> dict[str, float]:
    """Returns the median and the 10th and 90th percentile."""
    p10, median, p90 = (float(value) for value in np.percentile(ratios, (10, 50, 90)))
    return {"median": median, "p10": p10, "p90": p90}


def interval(
    values: Mapping[str, float], digits: int = 3, bold: bool = False, unit: str = ""
) -> str:
    """Returns a median with its 10th and 90th percentile, as in "0.83 (0.80-0.90)"."""
    median = f"{values['median']:.{digits}f}{unit}"
    median = f"**{median}**" if bold else median
    return f"{median} ({values['p10']:.{digits}f}-{values['p90']:.{digits}f})"
