"""Runs experiments one after the other: keeps finished ones, and continues after a failure."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.choices import choose
from common.cli import UserError
from common.files import write_text
from common.pages.document import read_document, replace_section
from experiments.command import perform
from experiments.harness.catalogue import EXPERIMENTS, Experiment
from experiments.harness.experiment import Settings
from experiments.harness.page import write_index
from experiments.harness.results import fingerprint, load, to_markdown


@dataclass(frozen=True)
class SeriesConfig:
    """Which experiments to run, and how: the flags of `experiments.all`.

    Attributes:
      settings: of all experiments.
      names: of the experiments; None: all.
      fresh: whether experiments that have a result already run again.
      model: path of a trained ShuffleNetV2, or None.
      document: folder with a page NAME.md for each experiment, whose section is replaced, or None.

    Raises:
      UserError: an unknown experiment, or a page that is missing or lacks its section.
    """

    settings: Settings
    names: Sequence[str] | None = None
    fresh: bool = False
    model: Path | None = None
    document: Path | None = None

    def __post_init__(self):
        chosen = self.experiments
        for experiment in chosen if self.document is not None else ():
            page = read_document(self.document / f"{experiment.name}.md")
            replace_section(page, experiment.name, "")

    @property
    def experiments(self) -> list[Experiment]:
        """The experiments to run."""
        return [EXPERIMENTS[name] for name in choose("experiment", self.names, EXPERIMENTS)]


def run_series(config: SeriesConfig) -> Path:
    """Runs the experiments and writes the page, again after each of them.

    Returns:
      The page's path.

    Raises:
      UserError: some experiments failed; the others are on the page.
    """
    records, failures = [], []
    page = config.settings.output / "index.html"
    names = ", ".join(experiment.name for experiment in config.experiments)
    print(f"running {names}: minutes each; --experiments=NAME,… chooses", flush=True)
    for experiment in config.experiments:
        try:
            records.append(_record(experiment, config))
        except UserError as error:
            failures.append(f"{experiment.name}: {error}")
            print(f"{experiment.name} failed: {error}", file=sys.stderr)
        config.settings.output.mkdir(parents=True, exist_ok=True)
        page = write_index(config.settings.output, records, failures)
    if config.document is not None:
        for record in records:
            _write_page(config.document, config.settings.output, record)
    if failures:
        raise UserError(f"{'; '.join(failures)}. Finished results are in {page}")
    return page


def _record(experiment: Experiment, config: SeriesConfig) -> dict:
    """Returns the result that exists already, or else a new one."""
    found = None if config.fresh else load(config.settings.output, experiment.name)
    # An experiment without measurements takes seconds and depends on more than the settings.
    if found and experiment.measures and found["settings"] == fingerprint(config.settings):
        print(f"{experiment.name}: kept from {found['run']['date']}; --fresh runs it again")
        return found
    command = shlex.join(["python", "-m", "experiments.all", *sys.argv[1:]])
    options = {"model": config.model} if experiment.name == "feature_reuse" else {}
    return perform(experiment.name, config.settings, options, command)


def _write_page(folder: Path, output: Path, record: dict) -> None:
    """Replaces an experiment's section in its page; copies pictures and JSON next to it."""
    name = record["name"]
    for file in (f"{name}.json", *(picture["file"] for picture in record["pictures"])):
        shutil.copyfile(output / file, folder / file)
    page = folder / f"{name}.md"
    section = f"{to_markdown(record)}\n\nAll figures: [{name}.json]({name}.json)"
    write_text(page, replace_section(read_document(page), name, section))
