"""Which network is trained."""

import dataclasses
import re

from common.settings import Settings, setting

MODELS = ("shufflenet_v1", "shufflenet_v2", "shufflenet_v2_plus", "mobilenet_v2")
# Of shufflenet_v2_plus, which has no scales.
SIZES = ("small", "medium", "large")
# A model may also be a file: its architecture is trained from random weights.
MODEL_SUFFIX = ".keras"
PADDINGS = ("same", "symmetric")
CONVENTIONS = ("paper", "megvii")
WIDTHS = ("stem_channels", "stage_channels", "head_channels")
_SHUFFLENETS_ONLY = ("padding", "convention")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkConfig(Settings):
    """What is trained, and what it starts from."""

    model: str = setting(
        "shufflenet_v2",
        f"Network: {', '.join(MODELS)}; or a {MODEL_SUFFIX} file, whose architecture is trained "
        "from random weights.",
    )
    scale: float = setting(
        1.0,
        "Width of the network: 0.5, 1, 1.5, 2; V1 also has 0.25. MobileNetV2 gets as many "
        "multiply-adds as ShuffleNet V2 at that scale.",
        interval="(0, 100]",
    )
    groups: int | None = setting(None, "Groups of V1's convolutions: 1, 2, 3, 4 or 8 (default 3).")
    size: str | None = setting(
        None, f"Size of V2+, instead of --scale: {', '.join(SIZES)} (default small).", choices=SIZES
    )
    padding: str = setting(
        "same",
        f"Padding of stride-2 convolutions: {', '.join(PADDINGS)}; symmetric is PyTorch's.",
        choices=PADDINGS,
    )
    convention: str = setting(
        "paper",
        "Where channels are shuffled: paper, or megvii for checkpoints of Megvii's code.",
        choices=CONVENTIONS,
    )
    small_images: bool = setting(
        False,
        "For images of 32 to 64 pixels: the stem (first convolution) has stride 1 and no max-pool.",
    )
    stem_channels: int | None = setting(
        None, "Width of V2's stem, instead of that of --scale (see shufflenet plan).", minimum=1
    )
    stage_channels: str | None = setting(
        None, "Widths of V2's stages, instead of those of --scale: even, such as 32,64,128."
    )
    head_channels: int | None = setting(
        None, "Width of V2's last convolution, instead of that of --scale.", minimum=1
    )
    first_depthwise: bool = setting(
        False,
        "Let each of V2's units begin with another depthwise 3x3 (V2*), so that a point of a "
        "detector sees more of the image.",
    )
    weights: str | None = setting(
        None,
        "Weights to start from: the workdir of a training, whose network is then used, a .keras or "
        ".weights.h5 file, or a value of the network's `weights` argument. New classes get a new "
        "classifier.",
    )
    whiten_stem: bool = setting(
        False,
        "Use principal components of the training images' patches as the kernels of the first "
        "convolution, and train all other weights.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model not in MODELS and not self.is_file:
            raise ValueError(
                f"model must be one of {', '.join(MODELS)} or a {MODEL_SUFFIX} file, "
                f"got {self.model!r}"
            )
        if self.groups is not None and self.model != "shufflenet_v1":
            raise ValueError(f"groups is for model=shufflenet_v1 only, got {self.groups}")
        if self.size is not None and self.model != "shufflenet_v2_plus":
            raise ValueError(f"size is for model=shufflenet_v2_plus only, got {self.size!r}")
        if self.model == "shufflenet_v2_plus":
            for name, default in {"scale": 1.0, "convention": "paper"}.items():
                value = getattr(self, name)
                if value != default:
                    raise ValueError(
                        f"{name} must be {default} for model=shufflenet_v2_plus, got {value!r}"
                    )
        self._check_widths()
        if self.first_depthwise and self.model != "shufflenet_v2":
            raise ValueError("first_depthwise is for model=shufflenet_v2 only, got True")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if (
                field.name in _SHUFFLENETS_ONLY
                and not self.is_shufflenet
                and value != field.default
            ):
                raise ValueError(f"{field.name} is for ShuffleNets only, got {value!r}")
        if self.whiten_stem and self.weights is not None:
            raise ValueError(
                f"whiten_stem must be off if weights are given, got weights={self.weights!r}"
            )

    def _check_widths(self) -> None:
        for name, value in self.widths.items():
            if self.model != "shufflenet_v2":
                raise ValueError(f"{name} is for model=shufflenet_v2 only, got {value}")
        text = self.stage_channels
        if text is not None and not re.fullmatch(r"\d*[02468](,\d*[02468]){2}", text):
            raise ValueError(f"stage_channels must be three even numbers (32,64,128), got {text!r}")

    @property
    def widths(self) -> dict[str, int | str]:
        """The widths that are given, by their settings' names."""
        given = {name: getattr(self, name) for name in WIDTHS}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def is_file(self) -> bool:
        """Whether the model is the architecture of a file."""
        return self.model.endswith(MODEL_SUFFIX)

    @property
    def is_shufflenet(self) -> bool:
        """Whether the model is one of the ShuffleNets."""
        return self.model.startswith("shufflenet_")
