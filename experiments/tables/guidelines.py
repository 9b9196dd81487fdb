"""V2 Tables 1 to 4, measured here: does each guideline hold, and by how much?"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from common.artifact import Artifact
from common.choices import choose
from common.cli import UserError
from converters.conversion_cache import QUANTIZATIONS, Network, convert_all, file_name
from experiments.harness.experiment import Picture, Result, Settings
from experiments.measuring.devices import File, measure
from experiments.networks.guideline_blocks import GUIDELINES, MULTIPLES, TOLERANCE, Guideline
from experiments.tables.guideline_report import (
    Measured,
    Setting,
    as_json,
    detail_tables,
    plot,
    verdict,
    verdict_table,
)

BATCHES = (1, 8)
_SOURCES = ("experiments/networks/guideline_blocks.py",)


def run(
    settings: Settings,
    names: Sequence[str] | None = None,
    multiples: Sequence[int] = MULTIPLES[:1],
) -> Result:
    """Measures the guidelines.

    Args:
      settings: the device, and how often.
      names: guidelines, "G1" to "G4"; None: all.
      multiples: factors of the widths, some of 1, 2 and 4, as in the paper.

    Raises:
      UserError: an unknown guideline or multiple, or unequal multiply-adds.
    """
    guidelines = [GUIDELINES[name] for name in choose("guideline", names, GUIDELINES)]
    choose("multiple", [str(one) for one in multiples], [str(one) for one in MULTIPLES])
    all_settings = [s for guideline in guidelines for s in _settings(guideline, multiples)]
    folders = convert_all(list(_networks(all_settings)), settings.cache)
    macs = {setting: _equal_macs(setting, folders) for setting in all_settings}
    groups = {setting.name: _files(setting, folders) for setting in all_settings}
    times = measure("guidelines", groups, settings)
    measured = [Measured(s, times[s.name], macs[s]) for s in all_settings]
    return Result(
        tables=[verdict_table(guidelines, measured), *detail_tables(guidelines, measured)],
        verdicts=[verdict(guideline, measured) for guideline in guidelines],
        pictures=[Picture("times", "Time of a multiply-add, by guideline", plot(measured))],
        data={"settings": [as_json(one) for one in measured]},
    )


def _settings(guideline: Guideline, multiples: Sequence[int]) -> Iterator[Setting]:
    for column in guideline.columns:
        for multiple in multiples:
            for quantization in QUANTIZATIONS:
                for batch in BATCHES:
                    yield Setting(guideline.name, column, multiple, quantization, batch)


def _networks(settings: Sequence[Setting]) -> Iterator[Network]:
    """Yields the networks of all settings; each is converted in all quantizations."""
    for setting in settings:
        if setting.quantization == QUANTIZATIONS[0]:
            guideline, of = GUIDELINES[setting.guideline], (setting.column, setting.multiple)
            for variant in guideline.variants:
                yield Network(
                    name=_network_name(setting, variant.label),
                    build=functools.partial(guideline.build, variant.label, *of),
                    sources=_SOURCES,
                    batch=setting.batch,
                )


def _network_name(setting: Setting, label: str) -> str:
    words = f"{setting.guideline} {label} {setting.column} x{setting.multiple} b{setting.batch}"
    return "".join(c if c.isalnum() else "_" for c in words.lower())


def _files(setting: Setting, folders: Mapping[str, Path]) -> dict[str, File]:
    name = file_name("canonical", setting.quantization)
    return {
        variant.label: File(folders[_network_name(setting, variant.label)], name)
        for variant in GUIDELINES[setting.guideline].variants
    }


def _equal_macs(setting: Setting, folders: Mapping[str, Path]) -> dict[str, int]:
    """Returns the multiply-adds of a setting's rows, which must be about equal."""
    macs = {}
    for variant in GUIDELINES[setting.guideline].variants:
        artifact = Artifact.open(folders[_network_name(setting, variant.label)])
        macs[variant.label] = artifact.manifest["model"]["macs"]
    check_equal(macs)
    return macs


def check_equal(macs: Mapping[str, int]) -> None:
    """Checks that networks have equal multiply-adds, as far as whole channels allow.

    Raises:
      UserError: they differ by more than `guideline_blocks.TOLERANCE`.
    """
    least, most = min(macs.values()), max(macs.values())
    if most / least > 1 + TOLERANCE:
        raise UserError(
            f"the rows have {least:,} to {most:,} multiply-adds, more than {TOLERANCE:.0%} apart; "
            "choose other widths"
        )
