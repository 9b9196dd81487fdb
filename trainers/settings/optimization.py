"""How the weights are learnt."""

import dataclasses

from common.settings import Settings, setting

SCHEDULES = ("cosine", "linear")
OPTIMIZERS = ("sgd", "muon", "adamw")
CLASS_WEIGHTS = ("none", "balanced")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# Seeds of NumPy, and so of Keras, have 32 bits.
MAX_SEED = 2**32 - 1


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
