import pytest

from common.cli import UserError
from common.tflite.vela_settings import (
    ACCELERATORS,
    VelaSettings,
    check_settings,
    memory_modes,
    system_configs,
)

pytest.importorskip("ethosu", reason="needs the extra ethosu")


@pytest.mark.parametrize(
    ("accelerator", "settings", "message"),
    [
        ("ethos-u1", {}, "--accelerator must be one of ethos-u55-32, .*; received 'ethos-u1'"),
        (
            "ethos-u55-128",
            {"system_config": "Ethos_U65_High_End"},
            "--system_config must be one of Ethos_U55_Deep_Embedded, Ethos_U55_High_End_Embedded "
            "for ethos-u55-128; received 'Ethos_U65_High_End'",
        ),
        (
            "ethos-u55-128",
            {"memory_mode": "Dedicated_Sram"},
            "--memory_mode=Dedicated_Sram writes .* read-only in .*; give --memory_mode one of Sra",
        ),
        (
            "ethos-u65-256",
            {"system_config": "Ethos_U65_Embedded"},
            "Vela's default, Dedicated_Sram, writes .* Ethos_U65_Embedded; .* Sram_Only, Shared_Sr",
        ),
        (
            "ethos-u85-256",
            {"memory_mode": "sram_only"},
            "--memory_mode must be one of Sram_Only, Shared_Sram, .*; received 'sram_only'",
        ),
    ],
)
def test_unknown_names_are_refused_with_those_of_vela(accelerator, settings, message):
    with pytest.raises(UserError, match=message):
        check_settings(accelerator, VelaSettings(**settings))


def test_every_accelerator_has_configurations_and_modes():
    for accelerator in ACCELERATORS:
        assert system_configs(accelerator)
        for config in system_configs(accelerator):
            check_settings(accelerator, VelaSettings(config, "Shared_Sram"))
    # A mode that inherits its memories.
    assert "Dedicated_Sram_384KB" in memory_modes()
    check_settings("ethos-u65-256", VelaSettings(memory_mode="Dedicated_Sram_384KB"))


def test_values_are_checked_and_become_vela_s_arguments():
    assert VelaSettings().arguments() == []
    assert VelaSettings("A", "B", "size", 1024).arguments() == [
        *("--system-config", "A", "--memory-mode", "B"),
        *("--optimise", "Size", "--arena-cache-size", "1024"),
    ]
    with pytest.raises(UserError, match="--optimise must be one of performance, size; received 'S"):
        VelaSettings(optimise="Size")
    with pytest.raises(UserError, match="--arena_limit must be at least 1; received 0"):
        VelaSettings(arena_limit=0)
