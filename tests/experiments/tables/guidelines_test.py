import numpy as np
import pytest

from common.cli import UserError
from experiments.harness.experiment import Settings
from experiments.networks import guideline_blocks
from experiments.tables import guidelines
from experiments.tables.guideline_report import Measured, Setting, exceeds
from experiments.tables.guidelines import run

SETTING = Setting("G2", "CPU", 1, "int8-ptq", 8)


def test_ratios_are_for_each_multiply_add_and_within_a_pass():
    milliseconds = {"g=8": np.array([4.4, 8.8]), "g=1": np.array([2.0, 4.0])}
    measured = Measured(SETTING, milliseconds, {"g=8": 110, "g=1": 100})
    assert list(measured.slower("g=8", "g=1")) == pytest.approx([2.0, 2.0])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.20, 1.22, 1.25], True),
        # One pass that was disturbed.
        ([0.79, 1.27, 1.27, 1.29, 1.30], True),
        ([1.06, 1.06, 1.07, 1.09, 1.10], None),
        ([1.04, 1.20], None),
        ([1.00, 1.01, 1.02], False),
        ([0.94, 0.97, 0.99, 1.00, 1.20], False),
        ([0.95, 1.01, 1.04, 1.06], None),
        # Not measured.
        ([1.0, np.nan], None),
    ],
)
def test_more_than_five_percent(values, expected):
    assert exceeds(np.array(values), 1.05) is expected


def test_unknown_names_are_reported():
    with pytest.raises(UserError, match="there is no guideline 'G5'; there are G1, G2, G3, G4"):
        run(Settings(), ["G5"])
    with pytest.raises(UserError, match="there is no multiple '3'; there are 1, 2, 4"):
        run(Settings(), ["G1"], [3])


def test_a_small_run(monkeypatch, tmp_path):
    for name, value in {"BLOCKS": 1, "SIZE": 8}.items():
        monkeypatch.setattr(guideline_blocks, name, value)
    monkeypatch.setattr(guidelines, "BATCHES", (1,))
    settings = Settings(output=tmp_path / "results", cache=tmp_path, passes=2, runs=2)
    result = run(settings, ["G4"])
    table, details = result.tables
    assert [row[0] for row in table.rows] == [
        "G4: ReLUs cost time", "G4: shortcuts cost time", "G4: both cost time",
    ]  # fmt: skip
    # The paper's 2842 / 2647 batches/s on the GPU, 66.3 / 61.9 images/s on ARM.
    assert table.rows[0][2] == "1.07x, 1.07x"
    assert {cell.split()[-1] for row in table.rows for cell in row[3:]} <= {
        "holds", "not", "undecided",
    }  # fmt: skip
    assert [row[0] for row in details.rows] == ["ReLU, shortcut", "ReLU", "shortcut", "neither"]
    macs = {tuple(one["macs"].values()) for one in result.data["settings"]}
    assert macs == {(8 * 8 * (32 * 8 + 9 * 8 * 8 + 8 * 32),) * 4}
    assert result.verdicts[0].startswith("**G4**, element-wise operations are non-negligible")
