import dataclasses
from typing import ClassVar

import pytest

from common.cli import UserError
from common.tflite.vela_settings import VelaSettings
from converters.planning import measure, search
from converters.planning.config import Budget, PlanConfig
from converters.planning.formulas import Counts, count, count_detector
from converters.planning.measure import Footprint
from converters.planning.search import Fit, Miss, Plan, first_rows, make_plan, report

BUDGET = Budget(sram=1500)
MISS = Miss("v2-1x at 96 px", "sram", 2000, 1500, at_least=False)
FITS = (
    Fit("v2-0.5x", 224, 40_000_000, 300 * 1024, 2**20, None, 61.1),
    Fit("v1-0.25x-g3", 96, 2_400_000, 1536, 2048, 12.5, None),
)
SMALL = "v2-8-16-32-64-128"


class FakeCandidate:
    """A fake `Candidate`: its numbers follow from its name, and it records conversions."""

    converted: ClassVar[list[str]] = []

    def __init__(self, network, size, config):
        self.network, self.size, self._config = network, size, config
        self._width = {"v2-0.5x": 1, "v2-1x": 3, "v1-0.5x-g3": 1, "v1-1x-g3": 2}[network]

    def __str__(self):
        return f"{self.network} at {self.size} px"

    @property
    def counts(self):
        macs = self._width * self.size**2
        return Counts(macs, 1000 * self._width, image_bytes=self.size * 10, map_bytes=0)

    def footprints(self):
        self.converted.append(str(self))
        if self.network == "v1-1x-g3":
            raise UserError("the tool refuses it")
        yield Footprint(None, self._width * self.size * 20, 1100 * self._width)

    def latency_ms(self, footprint=None):
        rate = self._config.macs_per_second
        return None if rate is None else 1e3 * self.counts.macs / rate


@pytest.fixture
def candidates(monkeypatch):
    monkeypatch.setattr(search, "Candidate", FakeCandidate)
    monkeypatch.setattr(search, "check_tool", lambda target: None)
    monkeypatch.setattr(FakeCandidate, "converted", [])
    return FakeCandidate


def config(sizes=(96, 128, 224), networks=("v2-0.5x", "v2-1x"), **changes):
    return PlanConfig(networks=networks, sizes=sizes, **{"budget": Budget(), **changes})


def names(plan):
    return [(fit.network, fit.size) for fit in plan.fits]


def test_what_fits_comes_with_most_work_first(candidates):
    plan = make_plan(config(budget=Budget(sram=8000)))
    # 3 * 96² > 128² > 96²; of v2-1x, 128 px would take 7,680 bytes.
    assert names(plan) == [
        *[("v2-0.5x", 224), ("v2-1x", 128), ("v2-1x", 96)],
        *[("v2-0.5x", 128), ("v2-0.5x", 96)],
    ]
    assert [str(miss) for miss in plan.misses] == [
        "v2-1x at 224 px needs 13,440 bytes of SRAM, 5,440 too many"
    ]
    assert (plan.left, plan.interrupted) == (0, False)


def test_the_best_are_measured_first_and_no_more_than_are_listed(candidates):
    settings = config(budget=Budget(sram=10**6), top=2)
    plan = make_plan(settings)
    assert candidates.converted == ["v2-1x at 224 px", "v2-0.5x at 224 px"]
    assert "4 more may fit and are not better; --top=6 measures all." in report(plan, settings)


def test_first_rows_come_by_formula(candidates):
    settings = config(budget=Budget(sram=2000, flash=2000), networks=("v2-0.5x", "v2-1x"))
    lines = first_rows(settings).splitlines()
    assert lines[0].split("  ")[0] == "may fit"
    # 224 px are 2,240 bytes, and v2-1x has 3,000 weights.
    assert [line.split()[:2] for line in lines[1:3]] == [["v2-0.5x", "128"], ["v2-0.5x", "96"]]
    assert lines[1].split()[2:] == ["0.02", "1.2", "1.0"]
    assert lines[3].startswith("By formula: 2 may fit, 4 cannot.")
    assert not candidates.converted
    assert first_rows(config(budget=Budget(sram=1))) == "By formula no network can fit (tried: 6)."


def interrupt_the_third(monkeypatch):
    """Presses Ctrl-C when two candidates are measured."""
    footprints = FakeCandidate.footprints

    def interrupted(self):
        if len(self.converted) == 2:
            raise KeyboardInterrupt
        return footprints(self)

    monkeypatch.setattr(FakeCandidate, "footprints", interrupted)


def test_ctrl_c_gives_what_is_measured(candidates, monkeypatch):
    interrupt_the_third(monkeypatch)
    settings = config(budget=Budget(sram=10**6))
    plan = make_plan(settings)
    assert names(plan) == [("v2-1x", 224), ("v2-0.5x", 224)]
    assert "Stopped: 4 networks that may fit were not measured; the same com" in report(
        plan, settings
    )
    # Nothing fits yet: there is nothing to list.
    with pytest.raises(KeyboardInterrupt):
        make_plan(settings)


def test_ctrl_c_before_anything_fits_names_the_nearest(candidates, monkeypatch, caplog):
    interrupt_the_third(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        make_plan(config(budget=Budget(sram=2300)))
    assert "none of the 2 measured fits; the nearest: v2-" in caplog.text


def test_networks_for_small_images_are_tried_at_small_sizes():
    pairs = PlanConfig(BUDGET, sizes=(32, 96)).pairs
    assert ("v2-0.5x-small", 32) in pairs and ("v2-0.5x-small", 96) not in pairs
    assert ("v2-0.5x", 32) in pairs
    named = PlanConfig(BUDGET, sizes=(96, 32), networks=("v2-0.5x",))
    assert named.pairs == [("v2-0.5x", 32), ("v2-0.5x", 96)]


def test_published_accuracy_goes_first_and_only_at_its_resolution(candidates):
    plan = make_plan(config(budget=Budget(sram=10**6), rank="accuracy"))
    assert names(plan)[:3] == [("v2-1x", 224), ("v2-0.5x", 224), ("v2-1x", 128)]
    assert [fit.accuracy for fit in plan.fits][:3] == [69.4, 61.1, None]


def test_what_cannot_fit_is_not_converted(candidates):
    plan = make_plan(config(budget=Budget(flash=2000, sram=2000)))
    assert candidates.converted == ["v2-0.5x at 128 px", "v2-0.5x at 96 px"]
    assert names(plan) == [("v2-0.5x", 96)]
    # The nearest first.
    assert [str(miss) for miss in plan.misses][:3] == [
        "v2-0.5x at 224 px needs at least 2,240 bytes of SRAM, 240 too many",
        "v2-0.5x at 128 px needs 2,560 bytes of SRAM, 560 too many",
        "v2-1x at 96 px needs at least 3,000 bytes of flash, 1,000 too many",
    ]


def test_after_vela_nothing_is_certain(candidates):
    make_plan(config(budget=Budget(flash=100), target="ethosu", networks=("v2-1x",)))
    assert candidates.converted == [f"v2-1x at {size} px" for size in (224, 128, 96)]


def test_latency_follows_from_the_rate_of_the_chip(candidates):
    rate = {"macs_per_second": 1e6, "budget": Budget(latency_ms=20.0)}
    plan = make_plan(config(**rate))
    assert names(plan) == [("v2-0.5x", 128), ("v2-0.5x", 96)]
    assert plan.fits[0].latency_ms == pytest.approx(16.384)
    assert str(plan.misses[0]) == "v2-1x at 96 px needs 27.648 ms, 7.648 too many"
    # This was known without converting them.
    assert candidates.converted == ["v2-0.5x at 128 px", "v2-0.5x at 96 px"]


def test_a_network_that_fails_is_skipped_and_named(candidates, caplog):
    plan = make_plan(config(budget=Budget(sram=10**6), networks=("v2-0.5x", "v1-1x-g3")))
    assert {network for network, _ in names(plan)} == {"v2-0.5x"}
    assert "v1-1x-g3 at 96 px is skipped: the tool refuses it" in caplog.text
    with pytest.raises(UserError, match="the tool refuses it"):
        make_plan(config(budget=Budget(sram=10**6), networks=("v1-1x-g3",)))


def test_missing_tool_is_reported_first(monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "micro_version", lambda: None)
    with pytest.raises(
        UserError, match=r"which is not installed; pip install 'keras_shufflenet\[mi"
    ):
        make_plan(config(budget=Budget(sram=1), cache=tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_real_network_is_measured_once(tmp_path, monkeypatch):
    pytest.importorskip("tflite_micro", reason="needs the extra micro")
    settings = config(
        networks=(SMALL,), sizes=(32,), channels=1, classes=2, cache=tmp_path,
        budget=Budget(sram=2**20, flash=2**20),
    )  # fmt: skip
    plan = make_plan(settings)
    (fit,) = plan.fits
    # Each weight is a byte; the arena holds at least the image.
    assert 30_210 < fit.flash_bytes < 150_000
    assert 32 * 32 + 16 * 16 * 8 < fit.ram_bytes < 60_000
    bounds = count(SMALL, 32, 1, 2)
    assert bounds.map_bytes < fit.ram_bytes and bounds.parameters < fit.flash_bytes
    monkeypatch.setattr(measure, "build", None)
    assert make_plan(settings) == plan
    tight = dataclasses.replace(settings, budget=Budget(sram=fit.ram_bytes - 1))
    (miss,) = make_plan(tight).misses
    assert (miss.needed, miss.at_least) == (fit.ram_bytes, False)


def test_table_has_a_row_for_each_network():
    lines = report(Plan(FITS, (MISS,)), PlanConfig(BUDGET)).splitlines()
    assert lines[0].split()[:2] == ["network", "px"]
    assert lines[1].split() == ["v2-0.5x", "224", "40.00", "300.0", "1,024.0", "-", "61.1%"]
    assert lines[2].split() == ["v1-0.25x-g3", "96", "2.40", "1.5", "2.0", "12.50", "-"]
    assert lines[3].startswith("RAM: the arena in TFLite Micro. Flash: the .tflite file. 10 cl")
    assert lines[4] == (
        "Of those that do not fit, the nearest: "
        "v2-1x at 96 px needs 2,000 bytes of SRAM, 500 too many."
    )


def test_only_the_best_are_listed_and_an_estimate_is_called_one():
    fits = [dataclasses.replace(fit, vela=VelaSettings(), clock_hz=500_000_000) for fit in FITS]
    text = report(Plan(tuple(fits), ()), PlanConfig(BUDGET, top=1, target="ethosu"))
    assert "estimated ms at 500 MHz" in text
    assert "Vela's estimate for ethos-u55-128, not a measurement." in text


def test_dram_is_a_column_and_a_limit_for_an_ethos_u(candidates, monkeypatch):
    found = Footprint(VelaSettings(), 300, 100, 1_740_800, 500, 10**9)
    monkeypatch.setattr(FakeCandidate, "footprints", lambda self: iter([found]))
    settings = config(sizes=(224,), networks=("v2-0.5x",), target="ethosu", budget=BUDGET)
    header, row, *_ = report(make_plan(settings), settings).splitlines()
    assert "RAM KB  DRAM KB  flash KB" in header and "1,700.0" in row.split()
    tight = dataclasses.replace(settings, budget=Budget(dram=2**20))
    assert [str(miss) for miss in make_plan(tight).misses] == [
        "v2-0.5x at 224 px needs 1,740,800 bytes of DRAM, 692,224 too many"
    ]
    with pytest.raises(UserError, match="--dram needs --target=ethosu; received micro"):
        config(budget=Budget(dram=2**20))


@pytest.mark.slow
def test_a_real_estimate_counts_the_dram(tmp_path):
    pytest.importorskip("ethosu", reason="needs the extra ethosu")
    values = {"networks": (SMALL,), "sizes": (32,), "channels": 1, "classes": 2}
    for accelerator, has_dram in (("ethos-u55-128", False), ("ethos-u65-256", True)):
        where = {"target": "ethosu", "accelerator": accelerator, "cache": tmp_path}
        (fit,) = make_plan(config(**values, **where, budget=Budget(flash=2**20))).fits
        assert (fit.dram_bytes > 0) == has_dram


def test_vela_is_told_to_save_memory_before_a_network_does_not_fit(candidates, monkeypatch):
    told = {None: 900, "limit": 500, "size": 200}

    def footprints(self):
        for vela in self._config.vela_attempts:
            ram = told["limit" if vela.arena_limit else vela.optimise]
            tried.append(vela)
            yield Footprint(vela, ram, 100, 0, 5_000_000, 500_000_000)

    monkeypatch.setattr(FakeCandidate, "footprints", footprints)
    for sram, row in ((1000, "performance"), (500, "performance, 0 KB"), (300, "size"), (100, "")):
        tried = []
        settings = config((224,), ("v2-0.5x",), target="ethosu", budget=Budget(sram=sram))
        plan = make_plan(settings)
        if row:
            assert f" {row}  " in report(plan, settings)
        else:
            assert [str(miss) for miss in plan.misses] == [
                "v2-0.5x at 224 px needs 200 bytes of SRAM, 100 too many"
            ]
        assert len(tried) == {1000: 1, 500: 2}.get(sram, 3)
    # What the user has settled is not tried again.
    fixed = config(target="ethosu", vela=VelaSettings(optimise="size"), budget=Budget(sram=100))
    assert fixed.vela_attempts == (VelaSettings(optimise="size"),)


def test_a_table_of_detectors_has_the_commands_that_train_them():
    fit = Fit("v2-8-16-32-64-pan32", 96, 1_700_000, 90 * 1024, 70 * 1024, None, None)
    settings = PlanConfig(BUDGET, task="detection", classes=3, strides=(8, 16))
    header, row, *_, command = report(Plan((fit,), ()), settings).splitlines()
    assert header.split("  ")[-1].strip() == "ms by rate"
    assert row.split() == ["v2-8-16-32-64-pan32", "96", "1.70", "90.0", "70.0", "-"]
    assert command == (
        "shufflenet train --recipe=detection --data_dir=PHOTOS "
        "--workdir=v2-8-16-32-64-pan32-96px --model=shufflenet_v2 --stem_channels=8 "
        "--stage_channels=16,32,64 --neck=pan --neck_width=32 --strides=8,16 --input_size=96"
    )


@pytest.mark.slow
def test_a_real_detector_is_measured(tmp_path):
    pytest.importorskip("tflite_micro", reason="needs the extra micro")
    settings = config(
        networks=("v2-8-16-32-64-fpn32",), sizes=(64,), task="detection", strides=(8, 16),
        classes=2, cache=tmp_path, budget=Budget(sram=2**20, flash=2**20),
    )  # fmt: skip
    (fit,) = make_plan(settings).fits
    bounds = count_detector("v2-8-16-32-64-fpn32", 64, 3, 2, (8, 16))
    assert bounds.map_bytes < fit.ram_bytes and bounds.parameters < fit.flash_bytes


@pytest.mark.slow
def test_vela_really_saves_memory_for_a_plan(tmp_path):
    pytest.importorskip("ethosu", reason="needs the extra ethosu")
    values = {"networks": ("v2-0.5x",), "sizes": (64,), "classes": 2, "cache": tmp_path}
    (free,) = make_plan(config(**values, target="ethosu", budget=Budget(flash=2**22))).fits
    sram = Budget(sram=0.7 * free.ram_bytes)
    (tight,) = make_plan(config(**values, target="ethosu", budget=sram)).fits
    assert tight.ram_bytes <= 0.7 * free.ram_bytes and tight.vela != free.vela
    # Vela's estimates of the two differ by parts of a thousand, either way.
    assert tight.latency_ms > 0.99 * free.latency_ms


def test_nothing_fits():
    with pytest.raises(UserError, match="no network fits; the nearest: v2-1x at 96 px needs 2,000"):
        report(Plan((), (MISS,)), PlanConfig(BUDGET))
