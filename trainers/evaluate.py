"""Evaluates a trained or converted model: accuracy, loss, confusions, and every prediction.

WORKDIR is the folder that `shufflenet train` wrote. The results are evaluation.json, confusion.txt
and .png, predictions.csv (a line for each image) and report.html (a page for a browser). Of a
detector they are its average precision in evaluation.json, detections.json (every box it finds) and
report.html, with the boxes drawn.

Example:
  shufflenet evaluate --model=WORKDIR --output=/tmp/scores
  shufflenet evaluate --model=artifact/deployment_int8_ptq.tflite --workdir=WORKDIR
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from common import cli, files
from common.pages import html_page
from trainers.config import CONFIG_FILE, TrainConfig
from trainers.data.class_names import describe, read_labels
from trainers.startup import import_tensorflow

if TYPE_CHECKING:
    from trainers.data.sources import Source
    from trainers.evaluation import Counts, Scores
    from trainers.prediction.classifier import Network
    from trainers.prediction.outcomes import Mistake

PREDICTIONS, PAGE = "predictions.csv", "report.html"

FLAGS = flags.FLAGS

flags.DEFINE_string("model", None, "A training's workdir, or a .keras or .tflite file.")
flags.DEFINE_string(
    "workdir",
    None,
    "The training's workdir, for its data and labels; default: the folder of --model.",
)
flags.DEFINE_string("split", None, "Images to use; default: the training's evaluation split.")
flags.DEFINE_string("data_dir", None, "Where the data is, if it has moved since the training.")
flags.DEFINE_string("output", None, "Folder for the results; default: WORKDIR/evaluation.")


def main() -> None:
    """Finds the model, its training and the images, then evaluates."""
    if not FLAGS.model:
        raise cli.UserError("--model is missing; name a workdir, a .keras or a .tflite file")
    model = Path(FLAGS.model)
    workdir = Path(FLAGS.workdir) if FLAGS.workdir else _workdir_of(model)
    config = TrainConfig.load(workdir)
    if FLAGS.data_dir:
        config = config.replace(data_dir=FLAGS.data_dir)
    labels = read_labels(workdir)
    output = Path(FLAGS.output) if FLAGS.output else workdir / "evaluation"
    output.mkdir(parents=True, exist_ok=True)
    path = model / "model.keras" if model.is_dir() else model
    split = FLAGS.split or config.data.eval_split
    # Only now, so that a wrong flag is reported without waiting seconds for TensorFlow.
    import_tensorflow()
    if config.detection.is_detection:
        from trainers.detection.results.evaluation_files import evaluate_detector

        evaluate_detector(path, config, labels, split, output)
    else:
        _evaluate(path, config, labels, split, output)


def entry_point() -> None:
    """Runs the command."""
    cli.run(main)


def _workdir_of(model: Path) -> Path:
    if model.is_dir():
        return model
    if (model.parent / CONFIG_FILE).exists():
        return model.parent
    if not model.exists():
        raise cli.UserError(f"{model} does not exist; name a workdir, a .keras or a .tflite file")
    raise cli.UserError(f"--workdir is missing; name the training that {model} comes from")


def _evaluate(
    path: Path, config: TrainConfig, labels: Sequence[str], split: str, output: Path
) -> None:
    from trainers.data import datasets
    from trainers.networks import classifiers
    from trainers.prediction.classifier import load_network

    network = load_network(path, config.images, len(labels))
    source = datasets.load_source(config.data, split, config.workdir, labels=labels)
    data = describe(config.data)
    classifiers.check_channels(network.input_shape, source.channels, path, data)
    datasets.print_notes(source, training=False)
    with files.atomic_write(output / PREDICTIONS) as temporary:
        scores, mistakes = _score(network, config, source, temporary)
    about = {"model": str(path), "split": split}
    _write(scores, labels, about, output, len(source.skipped))
    _write_page(output, about, scores, labels, mistakes, config.images.preprocessing)
    print(f"{path} on {scores.images} images of {split}: {scores.summary}; more in {output}")


def _score(
    network: "Network", config: TrainConfig, source: "Source", path: Path
) -> "tuple[Scores, list[Mistake]]":
    """Runs the network on every image, writes a line for each and returns what is known of all."""
    from trainers import evaluation
    from trainers.data import pipeline
    from trainers.prediction.outcomes import Outcomes

    def count(batch: tuple) -> "Counts":
        inputs, labels, weights = batch
        logits = network.logits(inputs.numpy())
        # The last batch is filled up.
        real = int(weights.numpy().sum())
        outcomes.add(inputs.numpy()[:real], labels.numpy()[:real], logits[:real])
        return evaluation.count(logits, labels, weights)

    batch_size = config.optimization.batch_size
    batches = pipeline.evaluation_batches(config.images, batch_size, source)
    with path.open("w", encoding="utf-8", newline="", errors="surrogateescape") as file:
        outcomes = Outcomes(file, source.class_names, source.files)
        with pipeline.reading_errors(config.data.dataset):
            scores = evaluation.summarize(map(count, batches))
    return scores, outcomes.mistakes


def _write(
    scores: "Scores", labels: Sequence[str], about: dict[str, str], output: Path, skipped: int
) -> None:
    from trainers.reporting import confusion

    totals = scores.confusion.sum(axis=1)
    correct = scores.confusion.diagonal()
    record = {
        **about,
        "top1": scores.top1,
        "top5": scores.top5,
        "loss": scores.loss,
        "images": scores.images,
        "skipped_images": skipped,
        "classes": {
            name: {"images": int(total), "correct": int(right)}
            for name, total, right in zip(labels, totals, correct, strict=True)
        },
    }
    files.write_json(output / "evaluation.json", record)
    files.write_text(output / "confusion.txt", confusion.table(scores.confusion, labels) + "\n")
    confusion.save_picture(scores.confusion, labels, output / "confusion.png")
    print(confusion.summary(scores.confusion, labels))


def _write_page(
    output: Path,
    about: dict[str, str],
    scores: "Scores",
    labels: list[str],
    mistakes: "list[Mistake]",
    preprocessing: str,
) -> None:
    from trainers.reporting.evaluation_page import write_evaluation

    try:
        html_page.check_packages()
    # The scores do not need them.
    except cli.UserError as error:
        print(f"warning: {output / PAGE} is not written: {error}", file=sys.stderr)
        return
    write_evaluation(output / PAGE, about, scores, labels, mistakes, preprocessing)


if __name__ == "__main__":
    entry_point()
