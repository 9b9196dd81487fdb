import pytest

from common.cli import UserError
from converters.planning.config import Budget, PlanConfig
from converters.planning.detectors import DEFAULT_DETECTORS, build, parts
from converters.planning.formulas import count_detector
from keras_shufflenet import detector_strides
from keras_shufflenet.complexity import complexity

SRAM = Budget(sram=2**20)


def plan(**changes):
    return PlanConfig(budget=SRAM, task="detection", **changes)


@pytest.mark.parametrize(
    ("name", "channels", "strides"),
    [
        ("v2-0.5x-pan", 3, None),
        ("v2-8-16-32-64-pan32", 1, (8, 16)),
        ("v2-8-16-32-64-fpn", 3, (16,)),
        ("v2-8-16-32-64-fpn24", 3, (8, 32)),
        ("v1-0.25x-g8-fused", 3, None),
    ],
)
def test_formula_counts_what_the_built_detector_has(name, channels, strides):
    model = build(name, 64, channels, 3, strides)
    assert detector_strides(model) == (strides or ((16,) if "fused" in name else (8, 16, 32)))
    built, counted = complexity(model), count_detector(name, 64, channels, 3, strides)
    assert (counted.macs, counted.parameters) == (built.macs, built.parameters)
    assert counted.image_bytes == 64 * 64 * channels


def test_strides_leave_out_the_neck_that_lacks_them():
    assert plan().networks == DEFAULT_DETECTORS
    assert {parts(name).neck for name in plan(strides=(8, 16)).networks} == {"pan", "fpn"}
    assert plan(strides=(16,)).networks == DEFAULT_DETECTORS
    assert ("v2-0.5x-pan", 96) in plan().pairs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": ("v2-0.5x",)}, "there is no detector 'v2-0.5x'; there are v2-8-16-32-64-pan"),
        ({"networks": ("v2-0.7x-pan",)}, "there is no network 'v2-0.7x'"),
        ({"networks": ("v2-0.5x-small-pan",)}, "needs maps of stride 32; leave out -small"),
        ({"networks": ("v2-0.5x-pan0",)}, "the width of the neck of 'v2-0.5x-pan0' must be above"),
        ({"strides": (16, 8)}, "--strides must be some of 8,16,32, ascending, with the neck pan"),
        ({"strides": ()}, "--strides must be some of 8,16,32"),
        (
            {"strides": (8,), "networks": ("v2-0.5x-fused",)},
            "some of 16, ascending, with the neck fused; received 8",
        ),
        ({"sizes": (96, 100)}, "--sizes must be multiples of 32 for a detector; received 96,100"),
        ({"rank": "accuracy"}, "--rank=accuracy is for classifiers"),
    ],
)
def test_impossible_flags_are_rejected(changes, message):
    with pytest.raises(UserError, match=message):
        plan(**changes)


def test_strides_are_for_detectors():
    with pytest.raises(UserError, match="--strides is for --task=detection"):
        PlanConfig(budget=SRAM, strides=(8, 16))
