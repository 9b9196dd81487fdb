"""V2 Tables 1 to 4, measured here: does each guideline hold, and by how much?"""

import functools
import itertools
from collections.abc import Sequence

from common.choices import choose
from converters.conversion_cache import QUANTIZATIONS, Network
from experiments.harness.experiment import Picture, Result, Settings
from experiments.measuring.latencies import Latencies, Networks, measure_networks
from experiments.networks.guideline_blocks import GUIDELINES, MULTIPLES
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
      UserError: an unknown guideline or multiple, or as measuring.
    """
    guidelines = [GUIDELINES[name] for name in choose("guideline", names, GUIDELINES)]
    choose("multiple", [str(one) for one in multiples], [str(one) for one in MULTIPLES])
    all_settings = [
        Setting(guideline.name, *setting)
        for guideline in guidelines
        for setting in itertools.product(guideline.columns, multiples, QUANTIZATIONS, BATCHES)
    ]
    networks: Networks = {}
    for setting in all_settings:
        networks |= _rows(setting)
    found = measure_networks("guidelines", networks, settings)
    measured = [_measured(setting, found) for setting in all_settings]
    return Result(
        tables=[verdict_table(guidelines, measured), *detail_tables(guidelines, measured)],
        verdicts=[verdict(guideline, measured) for guideline in guidelines],
        pictures=[Picture("times", "Time of a multiply-add, by guideline", plot(measured))],
        data={"settings": [as_json(one) for one in measured]},
    )


def _rows(setting: Setting) -> Networks:
    """Returns the networks of a setting's rows; each is converted in all quantizations."""
    guideline, widths = GUIDELINES[setting.guideline], (setting.column, setting.multiple)
    return {
        (setting.group, variant.label): Network(
            name=_network_name(setting, variant.label),
            build=functools.partial(guideline.build, variant.label, *widths),
            sources=_SOURCES,
            batch=setting.batch,
        )
        for variant in guideline.variants
    }


def _network_name(setting: Setting, label: str) -> str:
    words = f"{setting.guideline} {label} {setting.column} x{setting.multiple} b{setting.batch}"
    return "".join(c if c.isalnum() else "_" for c in words.lower())


def _measured(setting: Setting, found: Latencies) -> Measured:
    labels = [variant.label for variant in GUIDELINES[setting.guideline].variants]
    return Measured(
        setting,
        {label: found.ms(setting.group, label, setting.quantization) for label in labels},
        {label: found.models[setting.group, label]["macs"] for label in labels},
    )
