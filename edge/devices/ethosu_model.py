"""Arm's Ethos-U as its compiler Vela models it: an estimate, not a measurement."""

from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec

from common.cli import UserError
from common.tflite.vela_settings import VelaSettings, clock, milliseconds
from edge.devices.device import Job, Result, is_integer

# Nothing ran, so nothing varies.
_UNKNOWN = {"p10": None, "p90": None, "runs": 0}


class EthosUModel:
    """Gives Vela's estimate as a latency: cycles divided by the clock of Vela's configuration.

    The estimate is the manifest's; if that has none for this accelerator, or other settings are
    asked for, Vela makes one now.
    """

    def takes(self, entry: dict) -> bool:
        """Returns whether the file is an integer one: Vela leaves float operators to the CPU."""
        return is_integer(entry)

    def prepare(self, job: Job) -> None:
        """Does nothing: each file may have its estimate already."""

    def run(self, job: Job) -> Iterator[Result]:
        """Gives the estimates; a file without one does not stop the others."""
        for name in job.files:
            try:
                yield Result(name, values=_values(_estimate(job, name)))
            except UserError as error:
                yield Result(name, error=str(error))

    def clean_up(self) -> None:
        """Does nothing."""


def _estimate(job: Job, name: str) -> dict:
    """Returns the field `ethosu` of a file (docs/artifact.md)."""
    accelerator = job.options["accelerator"]
    settings = VelaSettings(**{one.name: job.options[one.name] for one in fields(VelaSettings)})
    known = job.artifact.files[name].get("ethosu", {})
    asked = settings != VelaSettings()
    if not asked and "clock_hz" in known and accelerator in (None, known["accelerator"]):
        return known
    accelerator = accelerator or known.get("accelerator")
    if accelerator is None:
        raise UserError(
            "the artifact has no estimate for it; name the NPU, such as --accelerator=ethos-u55-128"
        )
    if find_spec("ethosu") is None:
        raise UserError("Vela is not installed; pip install 'keras_shufflenet[ethosu]'")
    # Imported here, because Vela and the schema with which it reads files are not on every machine.
    from common.tflite.vela import compile_within

    return compile_within(job.artifact.path(name), accelerator, settings)


def _values(estimate: dict) -> dict:
    latency = milliseconds(estimate)
    return {
        "estimate": True,
        "place": f"{estimate['accelerator']} at {clock(estimate['clock_hz'])}",
        "threads": None,
        "warmup": 0,
        "latency_ms": {**dict.fromkeys(("median", "min", "mean"), latency), **_UNKNOWN},
        "arena_bytes": estimate["memory_bytes"]["sram"],
        "accuracy": None,
        "accuracy_images": 0,
        "ethosu": {key: value for key, value in estimate.items() if key != "compiled"},
    }
