"""The devices that a benchmark knows, by name."""

from edge.devices.device import Device, Job, Result
from edge.devices.host import Host
from edge.devices.micro_sim import MicroSim

DEVICES: dict[str, type[Device]] = {"host": Host, "micro-sim": MicroSim}

__all__ = ["DEVICES", "Device", "Job", "Result"]
