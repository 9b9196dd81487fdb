"""Every setting of a training: what it means, its default, its bounds and its choices.

They stand in groups, one for each part of a training; `trainers.config` puts them together. Each
setting has a flag of the same name: `shufflenet train --help` says what each means.
"""

import dataclasses
import re

from common.settings import Settings, setting

MODELS = ("shufflenet_v1", "shufflenet_v2", "mobilenet_v2")
# A model may also be a file: its architecture is trained, from random weights.
MODEL_SUFFIX = ".keras"
PADDINGS = ("same", "symmetric")
CONVENTIONS = ("paper", "megvii")
PREPROCESSINGS = ("tf", "torch", "raw")
CROPS = ("none", "pad", "resized")
SCHEDULES = ("cosine", "linear")
OPTIMIZERS = ("sgd", "muon")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# On this machine alone, and on others.
LOCAL_STRATEGIES = ("one", "mirrored")
STRATEGIES = (*LOCAL_STRATEGIES, "multiworker", "tpu")
CLUSTERS = ("tf_config", "slurm", "kubernetes")
# The data set that is a folder of images.
FOLDER = "folder"
# An address of --data_service.
DATA_SERVICE = r"grpc://.+:\d+"
_SHUFFLENETS_ONLY = ("padding", "convention")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Settings):
    """The images."""

    dataset: str = setting(
        dataclasses.MISSING,
        "'digits' (offline), 'folder' (images in DATA_DIR/SPLIT/CLASS/*.jpg) or a name in the "
        "catalogue of TensorFlow Datasets, such as cifar10.",
    )
    data_dir: str | None = setting(
        None,
        "Root of the image folder, or where TensorFlow Datasets keeps its data "
        "(default ~/tensorflow_datasets).",
    )
    train_split: str = setting("train", "Training images, such as 'train' or 'train[:90%]'.")
    eval_split: str = setting("test", "Evaluation images, such as 'test' or 'train[90%:]'.")
    verify_images: bool = setting(
        True, "Decode each file of an image folder once; leave out the unreadable."
    )
    cache_mb: int = setting(
        512,
        "Keep a split of at most so many MiB in memory (default 512): decoded where all images of "
        "a TensorFlow data set have one size, or as files of an image folder. 0: read again in "
        "every epoch.",
        minimum=0,
    )
    data_service: str | None = setting(
        None,
        "Have the training batches made elsewhere: grpc://HOST:PORT of trainers.data_server, or "
        "'local', to try it. Their order is then not the same in every run.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dataset == FOLDER and not self.data_dir:
            raise ValueError("data_dir must name the root of the images with dataset=folder")
        if self.data_service and not re.fullmatch(f"local|{DATA_SERVICE}", self.data_service):
            raise ValueError(
                f"data_service must be local or grpc://HOST:PORT, got {self.data_service!r}"
            )

    @property
    def cache_bytes(self) -> int:
        """How much of a split may be kept in memory."""
        # What is in memory would be sent to the servers of a data service with the pipeline.
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
        "Width of the network: 0.5, 1, 1.5, 2; V1 has 0.25 too. MobileNetV2 gets the multiply-adds "
        "of ShuffleNet V2 at that scale.",
    )
    groups: int | None = setting(None, "Groups of V1's convolutions: 1, 2, 3, 4 or 8 (default 3).")
    padding: str = setting(
        "same",
        f"{', '.join(PADDINGS)}: of stride-2 convolutions; symmetric is PyTorch's.",
        choices=PADDINGS,
    )
    convention: str = setting(
        "paper",
        "Where channels are shuffled: paper, or megvii for that code's checkpoints.",
        choices=CONVENTIONS,
    )
    small_images: bool = setting(
        False, "For 32 to 64 pixels: stem with stride 1 and without a max-pool."
    )
    weights: str | None = setting(
        None,
        "Start from these: the workdir of a training, whose network is taken over, a .keras or "
        ".weights.h5 file, or what the network's `weights` argument takes. New classes get a new "
        "classifier.",
    )
    whiten_stem: bool = setting(
        False,
        "Give the first convolution principal components of the training images' patches as its "
        "kernels, and train all but these.",
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
                f"whiten_stem must be off where weights are given, got weights={self.weights!r}"
            )

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
    """The network's input: how large images are, and what values their pixels have."""

    input_size: int = setting(224, "Height and width of the network's input, pixels.", minimum=32)
    train_size: int | None = setting(
        None, "Height and width of training images, pixels (default: --input_size).", minimum=32
    )
    train_size_epochs: float | None = setting(
        None,
        "Train the first N epochs at --train_size and the others at --input_size: small images "
        "take less time, and what they teach holds for larger ones. Default: all at --train_size.",
        minimum=0,
    )
    resize_size: int = setting(
        256, "Evaluation scales the shorter side to this and cuts the centre, pixels."
    )
    preprocessing: str = setting(
        "tf",
        f"{', '.join(PREPROCESSINGS)}: pixels to [-1, 1], or by ImageNet's mean and deviation, or "
        "as they are.",
        choices=PREPROCESSINGS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resize_size < self.input_size:
            raise ValueError(
                f"resize_size must be at least input_size ({self.input_size}), "
                f"got {self.resize_size}"
            )
        if self.train_size_epochs is not None and self.train_size is None:
            raise ValueError(
                f"train_size_epochs must come with train_size, got {self.train_size_epochs}"
            )
        if self.train_size is not None and self.train_size > self.resize_size:
            raise ValueError(
                f"train_size must be at most resize_size ({self.resize_size}), "
                f"got {self.train_size}"
            )

    @property
    def training_size(self) -> int:
        """Height and width of the images in training, pixels."""
        return self.train_size or self.input_size

    @property
    def training_resize_size(self) -> int:
        """What shows as much of an image at the training's size as the evaluation sees, pixels."""
        return round(self.resize_size * self.training_size / self.input_size)

    def grown(self) -> "ImageConfig":
        """Returns the settings after the epochs that have a size of their own."""
        if self.train_size_epochs is None:
            return self
        return dataclasses.replace(self, train_size=None, train_size_epochs=None)

    def as_training_begins(self) -> "ImageConfig":
        """Returns settings whose evaluation has the size of the first training images."""
        sizes = {"input_size": self.training_size, "resize_size": self.training_resize_size}
        return dataclasses.replace(self, **sizes, train_size=None, train_size_epochs=None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationConfig(Settings):
    """What is done to training images at random."""

    crop: str = setting(
        "resized",
        f"{', '.join(CROPS)}: training takes the centre, or pads by --crop_padding and cuts at "
        "random, or scales a random part of at least --crop_min_area.",
        choices=CROPS,
    )
    crop_padding: int = setting(4, "Pixels of reflection, for --crop=pad.", minimum=0)
    crop_min_area: float = setting(
        0.25, "Share of the image's area, for --crop=resized.", interval="(0, 1]"
    )
    flip: bool = setting(True, "Mirror training images, each in every other epoch.")
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
        1, "Variants of each image in a batch, of fewer images; 1: off.", minimum=1
    )
    mixup: float = setting(
        0.0, "Blend pairs of images: alpha of Beta(alpha, alpha); 0: off.", minimum=0
    )
    cutmix: float = setting(
        0.0, "Paste boxes into images, likewise; with mixup: one of both.", minimum=0
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizationConfig(Settings):
    """How the weights are found."""

    epochs: float = setting(1.0, "Passes over the training images.", minimum=0)
    steps: int | None = setting(None, "Steps to train, instead of --epochs.", minimum=1)
    batch_size: int = setting(
        32, "Images per step, over all devices; the learning rate follows it.", minimum=1
    )
    learning_rate: float = setting(
        0.1, "Peak of the schedule, reached after --warmup_epochs.", minimum=0
    )
    schedule: str = setting(
        "cosine", f"{' or '.join(SCHEDULES)}, to 0 at the end.", choices=SCHEDULES
    )
    warmup_epochs: float = setting(0.0, "Epochs of linear warm-up.", minimum=0)
    optimizer: str = setting(
        "sgd",
        "sgd, or muon: orthogonal steps for 1x1 convolutions, SGD for the rest.",
        choices=OPTIMIZERS,
    )
    bias_rate: float = setting(
        1.0,
        "Factor of the learning rate of biases and of BatchNorm's offsets.",
        interval="(0, inf)",
    )
    nesterov: bool = setting(True, "Momentum that looks ahead.")
    weight_decay: float = setting(
        0.0, "L2 penalty on kernels, through the momentum as in the papers' code.", minimum=0
    )
    label_smoothing: float = setting(
        0.0, "Share of the target spread over all classes.", interval="[0, 1)"
    )
    ema_decay: float = setting(
        0.0,
        "Evaluate and save an average of the weights that keeps this share at each step; 0: off.",
        interval="[0, 1)",
    )
    batch_norm_steps: int = setting(
        0,
        "Estimate BatchNorm's statistics anew at the end, from so many batches.",
        minimum=0,
    )
    distill: str | None = setting(
        None, "Teacher whose logits are learnt too: a workdir, or a .keras file of any classifier."
    )
    temperature: float = setting(
        2.0, "Of --distill: logits are divided by it.", interval="(0, inf)"
    )
    distill_weight: float = setting(0.5, "Share of --distill in the loss.", interval="(0, 1]")
    precision: str = setting(
        "float32",
        f"{', '.join(PRECISIONS)}: bfloat16 for TPUs, float16, whose loss is scaled, for GPUs. "
        "Weights are float32 always.",
        choices=PRECISIONS,
    )
    seed: int = setting(0, "Of weights, order and augmentation.", minimum=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is None and self.epochs == 0:
            raise ValueError("epochs must be above 0 where steps is not given, got 0.0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlacementConfig(Settings):
    """Where the training runs."""

    strategy: str = setting("one", f"Where to run: {', '.join(STRATEGIES)}.", choices=STRATEGIES)
    devices: int = setting(
        2,
        "GPUs of --strategy=mirrored; without a GPU, parts of the CPU, to try it.",
        minimum=1,
    )
    cluster: str = setting(
        "tf_config",
        f"Where --strategy=multiworker finds the workers: {', '.join(CLUSTERS)}. To try it on "
        "one machine: python -m trainers.launch --help",
        choices=CLUSTERS,
    )
    pod_label: str = setting(
        "job-name=shufflenet", "Label of the workers' pods, for --cluster=kubernetes."
    )
    pods: int | None = setting(None, "How many pods have that label.", minimum=1)
    tpu: str = setting("local", "Name of the TPU of --strategy=tpu; 'local': this machine's.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordConfig(Settings):
    """What is kept of a training, and how often."""

    eval_every: int | None = setting(
        None, "Steps between evaluations; default: one epoch.", minimum=1
    )
    checkpoint_every: int | None = setting(
        None, "Steps between checkpoints; default: with every evaluation.", minimum=1
    )
    checkpoint_minutes: float | None = setting(
        None, "A checkpoint also when the last one is so many minutes old.", minimum=0
    )
