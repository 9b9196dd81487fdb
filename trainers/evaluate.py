"""Evaluates a trained or converted model: top-1, top-5, loss and a confusion matrix.

WORKDIR is the folder that `shufflenet train` wrote.

Example:
  shufflenet evaluate --model=WORKDIR --output=/tmp/scores
  shufflenet evaluate --model=artifact/deployment_int8_ptq.tflite --workdir=WORKDIR
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from common import cli, files
from trainers.config import CONFIG_FILE, TrainConfig
from trainers.data.class_names import describe, read_labels
from trainers.settings import ImageConfig
from trainers.startup import import_tensorflow

if TYPE_CHECKING:
    from trainers.evaluation import Counts, Scores

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
    _evaluate(path, config, labels, FLAGS.split or config.data.eval_split, output)


def entry_point() -> None:
    """Runs the command."""
    cli.run(main)


def _workdir_of(model: Path) -> Path:
    if model.is_dir():
        return model
    if (model.parent / CONFIG_FILE).exists():
        return model.parent
    raise cli.UserError(f"--workdir is missing; name the training that {model} comes from")


def _evaluate(
    path: Path, config: TrainConfig, labels: Sequence[str], split: str, output: Path
) -> None:
    # Only now, so that a wrong flag is reported without waiting seconds for TensorFlow.
    import_tensorflow()
    from trainers import evaluation
    from trainers.data import datasets, pipeline
    from trainers.networks import classifiers

    counter, shape = _counter(path, config.images, len(labels))
    source = datasets.load_source(config.data, split, config.workdir, labels=labels)
    classifiers.check_channels(shape, source.channels, path, describe(config.data))
    batch_size = config.optimization.batch_size
    batches = pipeline.evaluation_batches(config.images, batch_size, source)
    with pipeline.reading_errors(config.data.dataset):
        scores = evaluation.summarize(map(counter, batches))
    _write(scores, labels, {"model": str(path), "split": split}, output, len(source.skipped))


def _counter(
    path: Path, config: ImageConfig, classes: int
) -> "tuple[Callable[[tuple], Counts], tuple]":
    """Returns a function that counts a batch's results with the model at `path`, and its input."""
    if path.suffix == ".tflite":
        return _litert_counter(path, config, classes)
    if path.suffix != ".keras":
        raise cli.UserError(f"{path} is not a model; name a workdir, a .keras or a .tflite file")
    import tensorflow as tf

    from trainers import evaluation
    from trainers.networks import classifiers, models

    model = models.load_model(path)
    classifiers.check_classifier(model, config, classes, path)
    models.check_preprocessing(model, config.preprocessing, path)
    # The loss is of logits.
    model = classifiers.without_softmax(model)
    return evaluation.make_counter(model, tf.distribute.get_strategy()), model.input_shape


def _litert_counter(
    path: Path, config: ImageConfig, classes: int
) -> "tuple[Callable[[tuple], Counts], tuple]":
    from common.tflite.isolated import IsolatedModel
    from common.tflite.operators import ends_with_softmax
    from trainers import evaluation
    from trainers.networks import classifiers

    model = IsolatedModel(path)
    classifiers.check_shapes(model.input_shape, model.output_shape, config, classes, path)
    gives_probabilities = ends_with_softmax(path)

    def count(batch: tuple) -> "Counts":
        images, labels, weights = batch
        outputs = model.predict(images.numpy())
        if gives_probabilities:
            outputs = evaluation.logits_of(outputs)
        return evaluation.count(outputs, labels, weights)

    return count, model.input_shape


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
    print(
        f"{about['model']} on {scores.images} images of {about['split']}: top-1 {scores.top1:.2%}, "
        f"top-5 {scores.top5:.2%}, loss {scores.loss:.4f}; more in {output}"
    )


if __name__ == "__main__":
    entry_point()
