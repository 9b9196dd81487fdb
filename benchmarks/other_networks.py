"""Quantizes networks that are not ours: accuracy and int8 latency, beside the usual conversion.

Each is trained in float with Keras's `fit`, converted by TFLiteConverter with its own post-training
quantization and as a deployment graph, and trained further with int8 rounding in it by tf_keras's
`fit` (`converters.quantization.aware`). Everything but the network is the same for all; what is
trained already is not trained again. All test images are evaluated.

Example:
  python -m benchmarks.other_networks --dataset=folder --data_dir=ROOT
"""

from absl import flags

from benchmarks.measuring.results import Destination, define_flags, define_turns, read_turns
from benchmarks.training import other_networks
from common import cli

define_flags("other_networks", document="docs/quantization-aware-training.md")
define_turns(rounds=40)
_NETWORKS = flags.DEFINE_list(
    "networks", None, "Networks to train, separated by commas; all by default."
)
_DATASET = flags.DEFINE_string("dataset", "cifar10", "As in `shufflenet train`.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As in `shufflenet train`.")
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Epochs in float.", lower_bound=1)
_QAT_EPOCHS = flags.DEFINE_integer("qat_epochs", 2, "Epochs with int8 rounding.", lower_bound=1)
_TRAIN_IMAGES = flags.DEFINE_integer(
    "train_images", None, "Training images, a random sample; all by default.", lower_bound=512
)
_WORKDIRS = flags.DEFINE_string(
    "workdirs", "build/other_networks", "Folder of the trainings, kept for the next run."
)


def main() -> None:
    """Reads the flags, trains, converts, evaluates, times, and writes the JSON file and table."""
    destination = Destination.from_flags("other_networks")
    plan = other_networks.Plan(
        networks=other_networks.check_names(_NETWORKS.value),
        dataset=_DATASET.value,
        data_dir=_DATA_DIR.value,
        epochs=_EPOCHS.value,
        qat_epochs=_QAT_EPOCHS.value,
        train_images=_TRAIN_IMAGES.value,
        workdirs=_WORKDIRS.value,
    )
    trained = other_networks.train_and_convert(plan)
    # Only now: the recorded load must be that of the timing, not of the training.
    run = destination.start(noisy="times") | trained
    run["networks"] = other_networks.timed(trained["networks"], read_turns())
    destination.write(run, other_networks.table(run))


if __name__ == "__main__":
    cli.run(main)
