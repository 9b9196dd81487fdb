import pytest

from common.cli import UserError
from common.tflite.vela_settings import VelaSettings
from converters.planning.config import Budget, PlanConfig
from converters.planning.networks import DEFAULT_NETWORKS, PUBLISHED_ACCURACY, build

SRAM = Budget(sram=2**20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "cpu"}, "--target must be one of micro, ethosu, edgetpu; received 'cpu'"),
        ({"rank": "size"}, "--rank must be one of macs, accuracy"),
        (
            {"vela": VelaSettings(optimise="size")},
            "--optimise and --arena_limit need --target=ethosu; received micro",
        ),
        ({"accelerator": "ethos-n"}, "--accelerator must be one of ethos-u55-32"),
        ({"networks": ("v3-1x",)}, "there is no network 'v3-1x'; there are v2-8-16"),
        ({"networks": ("v2-8-15-32-64-128",)}, "widths of 'v2-8-15-32-64-128' must be above 0"),
        ({"networks": ()}, "--networks and --sizes must each name at least one"),
        ({"sizes": (96, 31)}, "--sizes must be at least 32; received 31"),
        ({"sizes": (96, 10**9)}, "--sizes must be at most 8192; received 1000000000"),
        ({"classes": 10**12}, "--classes must be at most 1000000; received 1000000000000"),
        ({"macs_per_second": float("nan")}, "--macs_per_second must be above 0"),
        ({"channels": 4}, "--channels must be 1 or 3, as in shufflenet train; received 4"),
        ({"networks": ("v2-0.5x-tiny",)}, "there is no network 'v2-0.5x-tiny'; .*v2-0.5x-small"),
        ({"classes": 0}, "--classes must be above 0; received 0"),
        ({"budget": Budget()}, "give what the device has: --sram, --dram, --flash or --latency"),
        (
            {"budget": Budget(latency_ms=9.0)},
            "--latency with --target=micro needs --macs_per_second",
        ),
        (
            {"budget": Budget(latency_ms=9.0), "target": "edgetpu"},
            "--latency is not supported with --target=edgetpu, whose time cannot be predicted",
        ),
        ({"macs_per_second": -1.0}, "--macs_per_second must be above 0"),
        (
            {"macs_per_second": 1e6, "target": "ethosu"},
            "--macs_per_second .* needs --target=micro; .* 1000000.0 for ethosu",
        ),
    ],
)
def test_impossible_flags_are_rejected(changes, message):
    with pytest.raises(UserError, match=message):
        PlanConfig(**{"budget": SRAM, **changes})


def test_names_build_their_networks():
    assert PlanConfig(budget=SRAM).networks == DEFAULT_NETWORKS
    assert set(PUBLISHED_ACCURACY) <= set(DEFAULT_NETWORKS)
    v2 = build("v2-8-16-32-64-128", size=32, channels=1, classes=2)
    assert (v2.input_shape, v2.output_shape) == ((None, 32, 32, 1), (None, 2))
    assert v2.get_layer("stem_conv").filters == 8
    v1 = build("v1-0.25x-g8", size=32, channels=3, classes=5)
    assert v1.get_layer("stage2_unit2").groups == 8
    with pytest.raises(UserError, match="v2-1-2-4-1000002-8 cannot be built"):
        build("v2-1-2-4-1000002-8", size=8, channels=3, classes=2)
