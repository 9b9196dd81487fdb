"""Evaluates a trained or converted model: accuracy, loss, confusions, and every prediction.

WORKDIR is the folder that `shufflenet train` wrote. Of an artifact, the file for devices is
evaluated, with the preprocessing of its manifest, on the data of its training or on the images in
--data_dir, which must have its classes. The results are evaluation.json, confusion.txt and .png,
predictions.csv (a line for each image) and report.html (a page for a browser). Of a detector they
are its average precision in evaluation.json, detections.json (every box it finds) and report.html,
with the boxes drawn.

Example:
  shufflenet evaluate --model=WORKDIR --output=/tmp/scores
  shufflenet evaluate --model=artifact --data_dir=photos
  shufflenet evaluate --model=artifact/deployment_int8_ptq.tflite --workdir=WORKDIR
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from common import cli, files
from common.pages import html_page
from trainers.data.class_names import describe
from trainers.prediction.evaluated import Evaluated, find_evaluated
from trainers.startup import import_tensorflow

if TYPE_CHECKING:
    from trainers.data.sources import Source
    from trainers.evaluation import Counts, Scores
    from trainers.prediction.classifier import Classifier
    from trainers.prediction.outcomes import Mistake

PREDICTIONS, PAGE = "predictions.csv", "report.html"

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "model", None, "A training's workdir, a .keras or .tflite file, or an artifact."
)
flags.DEFINE_string(
    "workdir",
    None,
    "The training's workdir, for its data and, without an artifact, its labels; default: the "
    "folder of --model, or what the artifact says of its data.",
)
flags.DEFINE_string("split", None, "Images to use; default: the training's evaluation split.")
flags.DEFINE_string(
    "data_dir", None, "Where the data is, if it has moved since the training, or is other data."
)
flags.DEFINE_string(
    "output",
    None,
    "Folder for the results; default: evaluation, in WORKDIR or, of an artifact alone, in the "
    "current folder.",
)


def main() -> None:
    """Finds the model, its training and the images, then evaluates."""
    if not FLAGS.model:
        raise cli.UserError(
            "--model is missing; name a workdir, a .keras or a .tflite file, or an artifact"
        )
    workdir = Path(FLAGS.workdir) if FLAGS.workdir else None
    found = find_evaluated(Path(FLAGS.model), workdir, FLAGS.data_dir)
    split = FLAGS.split or found.data.eval_split
    output = Path(FLAGS.output) if FLAGS.output else (found.workdir or Path()) / "evaluation"
    output.mkdir(parents=True, exist_ok=True)
    # Only now, so that a wrong flag is reported without waiting seconds for TensorFlow.
    import_tensorflow()
    if found.is_detector:
        from trainers.detection.results.evaluation_files import evaluate_detector

        evaluate_detector(found, split, output)
    else:
        _evaluate(found, split, output)


def entry_point() -> None:
    """Runs the command."""
    cli.run(main)


def _evaluate(found: Evaluated, split: str, output: Path) -> None:
    from trainers.data import datasets
    from trainers.networks import classifiers
    from trainers.prediction.classifier import open_classifier

    classifier = open_classifier(found.model, None if found.is_artifact else found.workdir)
    path, labels = classifier.network.path, classifier.labels
    source = datasets.load_source(
        found.data, split, found.workdir, labels=labels, labels_file=found.labels
    )
    shape, data = classifier.network.input_shape, describe(found.data)
    classifiers.check_channels(shape, source.channels, path, data)
    datasets.print_notes(source, training=False)
    with files.atomic_write(output / PREDICTIONS) as temporary:
        scores, mistakes = _score(classifier, found, source, temporary)
    about = {"model": str(path), "split": split}
    _write(scores, labels, about, output, len(source.skipped))
    _write_page(output, about, scores, labels, mistakes)
    print(f"{path} on {scores.images} images of {split}: {scores.summary}; more in {output}")


def _score(
    classifier: "Classifier", found: Evaluated, source: "Source", path: Path
) -> "tuple[Scores, list[Mistake]]":
    """Runs the network on every image, writes a line for each and returns what is known of all."""
    from trainers import evaluation
    from trainers.data import pipeline
    from trainers.prediction.outcomes import Outcomes

    def count(batch: tuple) -> "Counts":
        images, labels, weights = batch
        logits = classifier.logits(images.numpy())
        # The last batch is filled up.
        real = int(weights.numpy().sum())
        if not np.isfinite(logits[:real]).all():
            raise cli.UserError(
                f"{classifier.network.path} gives non-finite numbers; train it again"
            )
        outcomes.add(images.numpy()[:real], labels.numpy()[:real], logits[:real])
        return evaluation.count(logits, labels, weights)

    sizes = classifier.resize_size, classifier.input_size
    batches = pipeline.uint8_batches(*sizes, found.batch_size, source)
    with path.open("w", encoding="utf-8", newline="", errors="surrogateescape") as file:
        outcomes = Outcomes(file, source.class_names, source.files)
        with pipeline.reading_errors(found.data.dataset):
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
    labels: Sequence[str],
    mistakes: "list[Mistake]",
) -> None:
    from trainers.reporting.evaluation_page import write_evaluation

    try:
        html_page.check_packages()
    # The scores do not need them.
    except cli.UserError as error:
        print(f"warning: {output / PAGE} is not written: {error}", file=sys.stderr)
        return
    write_evaluation(output / PAGE, about, scores, labels, mistakes)


if __name__ == "__main__":
    entry_point()
