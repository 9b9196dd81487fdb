"""The settings of `converters.convert`, checked before TensorFlow is imported."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.cli import UserError, check_bounds
from common.tflite.vela_settings import VelaSettings, check_settings
from converters.edgetpu_target.compiler import EdgeTpuSettings
from converters.graph.targets import LOWERINGS
from converters.micro_target.settings import MemorySettings
from converters.onnx_target.packages import check_packages
from converters.options import (
    DEFAULT_METHOD,
    GRAPHS,
    INTEGER,
    IO_DTYPES,
    MAX_BATCH,
    MAX_IMAGES,
    METHODS,
    MIN_CALIBRATION_IMAGES,
    ONNX,
    ONNX_LAYOUTS,
    ONNX_WEIGHT_BITS,
    QUANTIZATIONS,
)
from converters.quantization.config import default_folder


@dataclass(frozen=True)
class ConversionConfig:
    """What to convert, how, and where to: the flags of `converters.convert`.

    `model` is None for a model from Python.
    """

    model: Path | None
    output: Path
    data_dir: str | None = None
    graphs: tuple[str, ...] = ("deployment",)
    quantizations: tuple[str, ...] = ("none", "int8-ptq")
    target: str = "cpu"
    batch: int = 1
    io_dtype: str = "int8"
    ranges: str = DEFAULT_METHOD
    qat: Path | None = None
    plot: Path | None = None
    samples: int = 300
    calibration_images: int = 256
    onnx_layout: str = ONNX_LAYOUTS[0]
    onnx_weight_bits: int = ONNX_WEIGHT_BITS[0]
    accelerator: str | None = None
    vela: VelaSettings = field(default_factory=VelaSettings)
    edgetpu: EdgeTpuSettings = field(default_factory=EdgeTpuSettings)
    memory: MemorySettings = field(default_factory=MemorySettings)
    overwrite: bool = False

    def __post_init__(self):
        _check_list("graph", self.graphs, GRAPHS)
        _check_list("quantization", self.quantizations, QUANTIZATIONS)
        for graph in self.graphs:
            if impossible := set(self.quantizations) - set(GRAPHS[graph]):
                raise UserError(
                    f"--graph={graph} is not supported with --quantization={min(impossible)}, only "
                    f"with {', '.join(GRAPHS[graph])}; use --graph=deployment for it"
                )
        choices = {
            "target": LOWERINGS,
            "io_dtype": IO_DTYPES,
            "ranges": METHODS,
            "onnx_layout": ONNX_LAYOUTS,
            "onnx_weight_bits": ONNX_WEIGHT_BITS,
        }
        for flag, known in choices.items():
            if (value := getattr(self, flag)) not in known:
                raise UserError(
                    f"--{flag} must be one of {', '.join(map(str, known))}; received {value!r}"
                )
        check_bounds("samples", self.samples, 0, MAX_IMAGES)
        self._check_batch()
        check_bounds(
            "calibration_images", self.calibration_images, MIN_CALIBRATION_IMAGES, MAX_IMAGES
        )
        qat = "int8-qat" in self.quantizations and self.model is not None
        if qat and not self.qat_folder.is_dir():
            raise UserError(
                "--quantization=int8-qat needs a quantization-aware training, but "
                f"{self.qat_folder} is not one; train one with shufflenet quantize, or name it "
                "with --qat"
            )
        if self.plot is not None and self.plot.suffix != ".png":
            raise UserError(f"--plot must name a .png file; received {str(self.plot)!r}")
        if self.target == "micro" and self.io_dtype == "float32":
            raise UserError(
                "--io_dtype=float32 is not supported with --target=micro: the firmware takes "
                "pixels and returns integer scores; convert with --io_dtype=int8 or uint8"
            )
        self._check_onnx()
        self._check_device_flags()

    def _check_batch(self) -> None:
        check_bounds("batch", self.batch, 1, MAX_BATCH)
        if self.batch == 1:
            return
        if self.target != "cpu":
            raise UserError(
                f"--batch={self.batch} is not supported with --target={self.target}, which takes "
                "one example at a time; convert with --batch=1, or --target=cpu"
            )
        if set(self.quantizations) & set(ONNX):
            raise UserError(
                f"--batch={self.batch} is not supported for ONNX files, which take one example; "
                "convert them with --batch=1"
            )

    def _check_onnx(self) -> None:
        if set(self.quantizations) & set(ONNX):
            check_packages()
        elif self.onnx_layout != ONNX_LAYOUTS[0]:
            raise UserError(
                f"--onnx_layout needs an ONNX file; add --quantization={' or '.join(ONNX)}"
            )
        if self.onnx_weight_bits != ONNX_WEIGHT_BITS[0] and "onnx-int8" not in self.quantizations:
            raise UserError("--onnx_weight_bits needs an int8 file; add --quantization=onnx-int8")

    def _check_device_flags(self) -> None:
        if self.accelerator is not None:
            check_settings(self.accelerator, self.vela)
        elif self.vela != VelaSettings():
            raise UserError(
                "--system_config, --memory_mode, --optimise and --arena_limit need the NPU that "
                "Vela compiles for; add --accelerator, such as ethos-u55-128"
            )
        given = {
            "--accelerator": ("ethosu", self.accelerator is not None),
            "--edgetpu_… or --require_full_mapping": (
                "edgetpu",
                self.edgetpu != EdgeTpuSettings(),
            ),
            "--bands, --max_overhead or --arena": ("micro", self.memory != MemorySettings()),
        }
        for flag, (target, used) in given.items():
            if used and self.target != target:
                raise UserError(
                    f"{flag} is not supported with --target={self.target}; "
                    f"convert with --target={target}"
                )
            if used and not set(self.quantizations) & set(INTEGER):
                raise UserError(
                    f"{flag} needs an integer file; add --quantization={' or '.join(INTEGER)}"
                )

    @property
    def qat_folder(self) -> Path:
        """The folder of the quantization-aware training."""
        return self.qat or default_folder(self.model)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The (graph, quantization) of every file."""
        return [(graph, name) for graph in self.graphs for name in self.quantizations]


def _check_list(flag: str, names: Sequence[str], known: Collection[str]) -> None:
    if not names or not set(names) <= set(known):
        raise UserError(
            f"--{flag} must be some of {', '.join(known)}; received {','.join(names)!r}"
        )
    if len(set(names)) < len(names):
        raise UserError(f"--{flag} repeats a value: {','.join(names)}")
