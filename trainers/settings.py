"""Every setting of a training: what it means, its default, its bounds and its choices.

There is one group of settings for each part of a training; `trainers.config` combines them. Each
setting has a flag of the same name: `shufflenet train --help` explains them.
"""

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
PREPROCESSINGS = ("tf", "torch", "unit", "raw")
CROPS = ("none", "pad", "resized")
SCHEDULES = ("cosine", "linear")
OPTIMIZERS = ("sgd", "muon", "adamw")
CLASS_WEIGHTS = ("none", "balanced")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# Those that use only this machine, and all.
LOCAL_STRATEGIES = ("one", "mirrored")
STRATEGIES = (*LOCAL_STRATEGIES, "multiworker", "tpu")
CLUSTERS = ("tf_config", "slurm", "kubernetes")
# The data set that is a folder of images.
FOLDER = "folder"
# An address of --data_service.
DATA_SERVICE = r"grpc://.+:\d+"
WIDTHS = ("stem_channels", "stage_channels", "head_channels")
_DATASET = r"\w[\w./:,=+@-]*"
_SLICE = re.compile(r"[^\[\]]+\[(?P<start>\d+)(?P<unit>%?):(?P<end>\d+)(?P=unit)\].*")
# Seeds of NumPy, and so of Keras, have 32 bits.
MAX_SEED = 2**32 - 1
# As in an artifact's manifest.
MAX_SIDE = 8192
_SHUFFLENETS_ONLY = ("padding", "convention")


def check_split(name: str, value: str) -> None:
    """Raises ValueError if a split has no name, or a slice whose end is not after its start."""
    if not value.strip():
        raise ValueError(f"{name} must be a split such as 'train' or 'train[:90%]', got {value!r}")
    for part in value.split("+"):
        found = _SLICE.fullmatch(part)
        if found and int(found["start"][:20]) >= int(found["end"][:20]):
            raise ValueError(
                f"{name} must have a slice whose end is after its start, got {value!r}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Settings):
    """The images."""

    dataset: str = setting(
        dataclasses.MISSING,
        "'digits' (offline), 'folder' (images in DATA_DIR/SPLIT/CLASS/*.jpg, or without splits in "
        "DATA_DIR/CLASS/*.jpg) or a name in the catalogue of TensorFlow Datasets, such as cifar10.",
    )
    data_dir: str | None = setting(
        None,
        "Root of the image folder, or where TensorFlow Datasets keeps its data "
        "(default ~/tensorflow_datasets).",
    )
    train_split: str = setting("train", "Training images, such as 'train' or 'train[:90%]'.")
    eval_split: str = setting(
        "test",
        "Evaluation images, such as 'test' or 'train[90%:]'. If an image folder has none but the "
        "training's, a tenth of its images is held out.",
    )
    channels: int | None = setting(
        None,
        "Channels of the network's input: 3, or 1 for grey (default: 3 for an image folder, else "
        "the data set's own).",
        choices=(1, 3),
    )
    verify_images: bool = setting(
        True, "Decode each file of an image folder once, before training; skip unreadable files."
    )
    cache_mb: int = setting(
        512,
        "Keep a split in memory if it needs at most this many MiB (default 512): decoded if all "
        "images of a TensorFlow data set have the same size, or as files for an image folder. 0: "
        "read the images again in every epoch.",
        minimum=0,
    )
    data_service: str | None = setting(
        None,
        "Make the training batches in other processes: grpc://HOST:PORT of a shufflenet "
        "data-server, or 'local' to try it. The order of the images then differs between runs.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(_DATASET, self.dataset):
            raise ValueError(f"dataset must be the name of a data set, got {self.dataset!r}")
        for name in ("train_split", "eval_split"):
            check_split(name, getattr(self, name))
        if self.dataset == FOLDER and not self.data_dir:
            raise ValueError("data_dir is missing; name the folder of your images")
        if self.data_service and not re.fullmatch(f"local|{DATA_SERVICE}", self.data_service):
            raise ValueError(
                f"data_service must be local or grpc://HOST:PORT, got {self.data_service!r}"
            )

    @property
    def cache_bytes(self) -> int:
        """How much of a split may be kept in memory."""
        # Images in memory would be sent to the servers of a data service with the pipeline.
        return 0 if self.data_service else self.cache_mb * 2**20


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageConfig(Settings):
    """The network's input: the size of the images and the values of their pixels."""

    input_size: int = setting(
        224, "Height and width of the network's input, pixels.", minimum=32, maximum=MAX_SIDE
    )
    train_size: int | None = setting(
        None,
        "Height and width of training images, pixels (default: --input_size).",
        minimum=32,
        maximum=MAX_SIDE,
    )
    train_size_epochs: float | None = setting(
        None,
        "Train the first N epochs at --train_size, the rest at --input_size: small images take "
        "less time, and what the network learns from them holds for larger ones. Default: all at "
        "--train_size.",
        minimum=0,
    )
    crop_share: float = setting(
        0.875,
        "Evaluation cuts out the centre of an image, a square with this share of its shorter side, "
        "and scales it to --input_size; 1: all of that side.",
        interval="(0, 1]",
    )
    preprocessing: str = setting(
        "tf",
        f"{', '.join(PREPROCESSINGS)}: pixels are scaled to [-1, 1], or normalized with ImageNet's "
        "mean and standard deviation, or scaled to [0, 1], or unchanged.",
        choices=PREPROCESSINGS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train_size_epochs is not None and self.train_size is None:
            raise ValueError(f"train_size_epochs needs train_size, got {self.train_size_epochs}")
        if self.train_size is not None and self.train_size > self.resize_size:
            raise ValueError(
                f"train_size must be at most input_size / crop_share ({self.resize_size}), "
                f"got {self.train_size}"
            )

    @property
    def resize_size(self) -> int:
        """What evaluation scales an image's shorter side to before it cuts, pixels."""
        return round(self.input_size / self.crop_share)

    @property
    def training_size(self) -> int:
        """Height and width of the images in training, pixels."""
        return self.train_size or self.input_size

    @property
    def training_resize_size(self) -> int:
        """The resize size, pixels, that shows as much of an image in training as in evaluation."""
        return round(self.training_size / self.crop_share)

    def grown(self) -> "ImageConfig":
        """Returns the settings for the epochs after `train_size_epochs`."""
        if self.train_size_epochs is None:
            return self
        return dataclasses.replace(self, train_size=None, train_size_epochs=None)

    def as_training_begins(self) -> "ImageConfig":
        """Returns settings that evaluate at the size of the first training images."""
        size = self.training_size
        return dataclasses.replace(self, input_size=size, train_size=None, train_size_epochs=None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationConfig(Settings):
    """The random changes of training images."""

    crop: str = setting(
        "resized",
        f"{', '.join(CROPS)}: training uses the centre, or pads by --crop_padding and cuts out a "
        "random square, or scales a random part of at least --crop_min_area.",
        choices=CROPS,
    )
    crop_padding: int = setting(
        4,
        "Pixels of reflection added on each side, for --crop=pad.",
        minimum=0,
        maximum=MAX_SIDE,
    )
    crop_min_area: float = setting(
        0.25, "Smallest share of the image's area, for --crop=resized.", interval="(0, 1]"
    )
    flip: bool = setting(True, "Mirror each training image in every other epoch.")
    color_jitter: float = setting(
        0.0,
        "Change brightness, contrast and saturation by at most this share.",
        interval="[0, 1)",
    )
    trivial_augment: bool = setting(False, "TrivialAugment: one random operation per image.")
    random_erasing: float = setting(
        0.0, "Share of images that lose a random rectangle.", interval="[0, 1]"
    )
    repeated_augmentation: int = setting(
        1,
        "Variants of each image in a batch, which then has fewer images; 1: off.",
        minimum=1,
        maximum=1e6,
    )
    mixup: float = setting(
        0.0, "Blend pairs of images: alpha of Beta(alpha, alpha); 0: off.", minimum=0, maximum=1e6
    )
    cutmix: float = setting(
        0.0,
        "Paste boxes into images: alpha, as for --mixup; 0: off. With both, each image gets one "
        "of them.",
        minimum=0,
        maximum=1e6,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizationConfig(Settings):
    """How the weights are trained."""

    epochs: float = setting(1.0, "Passes over the training images.", minimum=0, maximum=1e6)
    steps: int | None = setting(None, "Steps to train, instead of --epochs.", minimum=1)
    batch_size: int = setting(
        32,
        "Images per step, on all devices together; a recipe scales the learning rate with it.",
        minimum=1,
        maximum=1e6,
    )
    learning_rate: float = setting(
        0.1, "Peak of the schedule, reached after --warmup_epochs.", minimum=0, maximum=1e6
    )
    schedule: str = setting(
        "cosine",
        f"How the learning rate falls to 0 at the end: {' or '.join(SCHEDULES)}.",
        choices=SCHEDULES,
    )
    warmup_epochs: float = setting(0.0, "Epochs of linear warm-up.", minimum=0, maximum=1e6)
    optimizer: str = setting(
        "sgd",
        "sgd; muon: orthogonal steps for 1x1 convolutions, SGD for the rest; or adamw: Adam, whose "
        "--weight_decay is a share of the learning rate.",
        choices=OPTIMIZERS,
    )
    bias_rate: float = setting(
        1.0,
        "Factor for the learning rate of biases and of BatchNorm's offsets.",
        interval="(0, 1000000]",
    )
    nesterov: bool = setting(True, "Use Nesterov momentum, which looks ahead.")
    weight_decay: float = setting(
        0.0,
        "L2 penalty on kernels, included in the momentum as in the papers' code; for adamw, "
        "separate from it.",
        minimum=0,
    )
    label_smoothing: float = setting(
        0.0, "Share of the target spread over all classes.", interval="[0, 1)"
    )
    class_weights: str = setting(
        "none",
        f"{' or '.join(CLASS_WEIGHTS)}: an image of a class with few images counts for more in the "
        "loss, so that all classes count alike.",
        choices=CLASS_WEIGHTS,
    )
    ema_decay: float = setting(
        0.0,
        "Evaluate and save a moving average of the weights, which keeps this share of itself at "
        "each step; 0: off.",
        interval="[0, 1)",
    )
    batch_norm_steps: int = setting(
        0,
        "Estimate BatchNorm's statistics again at the end, from this many batches; 0: off.",
        minimum=0,
    )
    distill: str | None = setting(
        None,
        "Teacher, a trained network whose logits are learnt too: a workdir, or a .keras file of "
        "any classifier.",
    )
    temperature: float = setting(2.0, "Divides the logits for --distill.", interval="(0, 1000000]")
    distill_weight: float = setting(0.5, "Share of --distill in the loss.", interval="(0, 1]")
    precision: str = setting(
        "float32",
        f"{', '.join(PRECISIONS)}: bfloat16 is for TPUs, float16, with a scaled loss, for GPUs. "
        "Weights are always float32.",
        choices=PRECISIONS,
    )
    seed: int = setting(
        0,
        "Seed of the initial weights, the order of images and the augmentation.",
        minimum=0,
        maximum=MAX_SEED,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is None and self.epochs == 0:
            raise ValueError("epochs must be above 0 if steps is not given, got 0.0")
        if self.optimizer == "adamw" and not self.nesterov:
            raise ValueError("nesterov must be on (its default) for adamw, which has none")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlacementConfig(Settings):
    """Where the training runs."""

    strategy: str = setting("one", f"Where to run: {', '.join(STRATEGIES)}.", choices=STRATEGIES)
    devices: int = setting(
        2,
        "Number of GPUs for --strategy=mirrored; without a GPU: virtual devices on the CPU, to "
        "try it.",
        minimum=1,
        maximum=1024,
    )
    cluster: str = setting(
        "tf_config",
        f"How --strategy=multiworker finds the workers: {', '.join(CLUSTERS)}. To try it on one "
        "machine: shufflenet launch --help",
        choices=CLUSTERS,
    )
    pod_label: str = setting(
        "job-name=shufflenet", "Label of the workers' pods, for --cluster=kubernetes."
    )
    pods: int | None = setting(None, "Number of pods with that label.", minimum=1)
    tpu: str = setting("local", "Name of the TPU for --strategy=tpu; 'local': this machine's.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordConfig(Settings):
    """How often a training is evaluated and saved."""

    eval_every: int | None = setting(
        None,
        "Steps between evaluations; default: one epoch, or five of a detector's.",
        minimum=1,
    )
    checkpoint_every: int | None = setting(
        None, "Steps between checkpoints; default: with every evaluation.", minimum=1
    )
    checkpoint_minutes: float | None = setting(
        None, "Also save a checkpoint when the last one is this many minutes old.", minimum=0
    )
