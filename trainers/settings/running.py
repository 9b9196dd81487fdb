"""Where a training runs, and how often it is evaluated and saved."""

import dataclasses

from common.settings import Settings, setting

# Those that use only this machine, and all.
LOCAL_STRATEGIES = ("one", "mirrored")
STRATEGIES = (*LOCAL_STRATEGIES, "multiworker", "tpu")
CLUSTERS = ("tf_config", "slurm", "kubernetes")


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
