import pytest

from common.cli import UserError
from converters.planning.config import Budget, PlanConfig
from converters.planning.report import report
from converters.planning.search import Fit, Miss, Plan

MISS = Miss("v2-1x at 96 px", "sram", 2000, 1500, at_least=False)
FITS = (
    Fit("v2-0.5x", 224, 40_000_000, 300 * 1024, 2**20, None, 61.1),
    Fit("v1-0.25x-g3", 96, 2_400_000, 1536, 2048, 12.5, None),
)


def config(**changes):
    return PlanConfig(budget=Budget(sram=1500), **changes)


def test_table_has_a_row_for_each_network():
    lines = report(Plan(FITS, (MISS,)), config()).splitlines()
    assert lines[0].split()[:2] == ["network", "px"]
    assert lines[1].split() == ["v2-0.5x", "224", "40.00", "300.0", "1,024.0", "-", "61.1%"]
    assert lines[2].split() == ["v1-0.25x-g3", "96", "2.40", "1.5", "2.0", "12.50", "-"]
    assert lines[3].startswith("RAM: the arena in TFLite Micro. Flash: the .tflite file. 10 cl")
    assert lines[4] == (
        "Of those that do not fit, the nearest: "
        "v2-1x at 96 px needs 2,000 bytes of SRAM, 500 too many."
    )


def test_only_the_best_are_listed_and_an_estimate_is_called_one():
    text = report(Plan(FITS, ()), config(top=1, target="ethosu"))
    assert "v1-0.25x-g3" not in text and "1 more fit; --top=2 lists all." in text
    assert "estimated ms" in text
    assert "Vela's estimate for ethos-u55-128, not a measurement." in text


def test_nothing_fits():
    with pytest.raises(UserError, match="no network fits; the nearest: v2-1x at 96 px needs 2,000"):
        report(Plan((), (MISS,)), config())
