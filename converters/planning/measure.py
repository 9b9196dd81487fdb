"""Measures what a network needs on a target: converted with random weights, then run or compiled.

Memory, bytes and cycles do not depend on the weights' values. Measurements are kept from run to
run, each in a small file.
"""

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import keras

from common.cli import UserError
from common.tflite.litert import litert_version
from common.tflite.micro_runtime import micro_version
from common.tflite.vela import compile_file, vela_version
from common.tflite.vela_settings import VelaSettings
from converters.conversion.tflite import convert_fake_quant
from converters.edgetpu_target.check import predict
from converters.graph.deployment import deployment_graph
from converters.graph.scales import scale_groups
from converters.measurement_cache import cached
from converters.micro_target.fitting import fit
from converters.micro_target.settings import MemorySettings
from converters.planning import detectors
from converters.planning.config import PlanConfig
from converters.planning.formulas import Counts, count, count_detector
from converters.planning.networks import build
from converters.quantization.fake_quantization import fake_quant_model
from converters.source_digest import source_digest

# Takes a file, the settings, and what Vela is to be told.
_Measure = Callable[[Path, PlanConfig, VelaSettings | None], dict[str, int]]
# Any range will do: the scales' values do not change a size.
_RANGE = (-4.0, 4.0)
# The sources that a measurement depends on besides those of the conversion.
_SOURCES = (
    *("converters/planning/measure.py", "converters/planning/networks.py"),
    "converters/planning/detectors.py",
    *("converters/edgetpu_target/check.py", "converters/edgetpu_target/operators.py"),
    *("converters/edgetpu_target/parameters.py", "converters/micro_target/*.py"),
    *("common/tflite/micro_runtime.py", "common/tflite/vela*.py"),
)


@dataclass(frozen=True)
class Footprint:
    """What a network needs.

    Attributes:
      vela: what Vela was told, for ethosu.
      ram_bytes, flash_bytes: as in `config.TARGETS`.
      dram_bytes, cycles, clock_hz: Vela's figures, for ethosu.
    """

    vela: VelaSettings | None
    ram_bytes: int
    flash_bytes: int
    dram_bytes: int | None = None
    cycles: int | None = None
    clock_hz: int | None = None


class Candidate:
    """A network at a resolution; each figure is measured once, or read from the cache.

    Args:
      network: its name.
      size: height and width of its images, pixels.
      config: the target, the cache, and the numbers of classes and channels.
    """

    def __init__(self, network: str, size: int, config: PlanConfig):
        self.network = network
        self.size = size
        self._config = config

    def __str__(self) -> str:
        return f"{self.network} at {self.size} px"

    @functools.cached_property
    def counts(self) -> Counts:
        """What it costs at least, by formula."""
        if self._config.is_detection:
            return count_detector(*self._network, self._config.strides)
        return count(*self._network)

    @property
    def _network(self) -> tuple[str, int, int, int]:
        return self.network, self.size, self._config.channels, self._config.classes

    def footprints(self) -> Iterator[Footprint]:
        """Yields what the network needs, for ethosu with each of Vela's settings to be tried.

        Raises:
          UserError: the target cannot run the network.
        """
        attempts = self._config.vela_attempts if self._config.target == "ethosu" else (None,)
        # Made at most once, and only if a figure is not in the cache.
        content = functools.cache(self._convert)
        for vela in attempts:
            yield Footprint(vela, **self._footprint(content, vela))

    def _footprint(self, content: Callable[[], bytes], vela: VelaSettings | None) -> dict[str, int]:
        tool = _TOOLS[self._config.target]
        key = {**self._key(self._config.target), "tool": tool.version()}
        if vela is not None:
            key.update(accelerator=self._config.accelerator, vela=dataclasses.asdict(vela))
        measure = functools.partial(self._measure, content, vela)
        return cached(self._config.cache, key, tool.fields, measure)

    def latency_ms(self, footprint: Footprint | None = None) -> float | None:
        """Returns milliseconds by the planner's rule for the target; None if it has no rule.

        ethosu: Vela's cycles at the clock of its system configuration; micro: multiply-adds divided
        by --macs_per_second.
        """
        if footprint is not None and footprint.cycles is not None:
            return 1e3 * footprint.cycles / footprint.clock_hz
        rate = self._config.macs_per_second
        return None if rate is None else 1e3 * self.counts.macs / rate

    def _key(self, what: str) -> dict:
        strides = {"strides": self._config.strides} if self._config.is_detection else {}
        return {
            **strides,
            "what": what,
            "network": self.network,
            "size": self.size,
            "channels": self._config.channels,
            "classes": self._config.classes,
            "sources": source_digest("deployment", _SOURCES),
        }

    def _convert(self) -> bytes:
        # Otherwise Keras would keep all networks in memory.
        keras.utils.clear_session()
        if self._config.is_detection:
            model = detectors.build(*self._network, self._config.strides)
        else:
            model = build(*self._network)
        graph = deployment_graph(model, self._config.target)
        ranges = dict.fromkeys(scale_groups(graph).values(), _RANGE)
        return convert_fake_quant(fake_quant_model(graph, ranges))

    def _measure(self, content: Callable[[], bytes], vela: VelaSettings | None) -> dict[str, int]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.tflite"
            path.write_bytes(content())
            return _TOOLS[self._config.target].measure(path, self._config, vela)


def _measure_micro(path: Path, config: PlanConfig, vela: None) -> dict[str, int]:
    # In bands, as converters.convert writes it.
    found = fit(path.read_bytes(), MemorySettings(), config.cache / "bands")
    return {"ram_bytes": found.chosen.arena_bytes, "flash_bytes": len(found.content)}


def _measure_edgetpu(path: Path, config: PlanConfig, vela: None) -> dict[str, int]:
    prediction = predict(path)
    if prediction.mapped < len(prediction.operators):
        raise UserError("not all of its operators map to the Edge TPU")
    return {"ram_bytes": prediction.parameter_bytes, "flash_bytes": path.stat().st_size}


def _measure_ethosu(path: Path, config: PlanConfig, vela: VelaSettings) -> dict[str, int]:
    compiled = path.with_name("compiled.tflite")
    estimate = compile_file(path, config.accelerator, compiled, vela)
    return {
        "ram_bytes": estimate["memory_bytes"]["sram"],
        # 0 for a U55. A U65 and a U85 use the SRAM as a cache of what is in DRAM.
        "dram_bytes": estimate["memory_bytes"].get("dram", 0),
        "flash_bytes": compiled.stat().st_size,
        "cycles": estimate["cycles"]["total"],
        "clock_hz": estimate["clock_hz"],
    }


def _required_micro_version() -> str:
    version = micro_version()
    if version is None:
        raise UserError(
            "--target=micro measures with TFLite Micro's interpreter, which is not installed; "
            "pip install 'keras_shufflenet[micro]'"
        )
    return version


def check_tool(target: str) -> None:
    """Raises UserError if the tool that measures for a target is not installed."""
    _TOOLS[target].version()


class _Tool(NamedTuple):
    """The tool that measures for a target: the figures that it gives, and its version."""

    measure: _Measure
    version: Callable[[], str]
    fields: tuple[str, ...] = ("ram_bytes", "flash_bytes")


_TOOLS = {
    "micro": _Tool(_measure_micro, _required_micro_version),
    "ethosu": _Tool(
        _measure_ethosu,
        vela_version,
        ("ram_bytes", "dram_bytes", "flash_bytes", "cycles", "clock_hz"),
    ),
    "edgetpu": _Tool(_measure_edgetpu, litert_version),
}
