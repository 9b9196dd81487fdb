"""The devices that a benchmark can use, by name."""

from edge.devices.android import Android
from edge.devices.browser import Browser
from edge.devices.coral import Coral
from edge.devices.device import (
    DEFAULT_OPTIONS,
    Device,
    DeviceLostError,
    Job,
    Result,
)
from edge.devices.ethosu_model import EthosUModel
from edge.devices.host import Host
from edge.devices.micro_sim import MicroSim
from edge.devices.ssh import Ssh

DEVICES: dict[str, type[Device]] = {
    "host": Host,
    "ssh": Ssh,
    "android": Android,
    "coral": Coral,
    "micro-sim": MicroSim,
    "ethosu-model": EthosUModel,
    "browser": Browser,
}

__all__ = ["DEFAULT_OPTIONS", "DEVICES", "Device", "DeviceLostError", "Job", "Result"]
