"""The training loop, for one device and for many; what it does to disk is in `checkpoints`."""

import contextlib
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import tensorflow as tf

from trainers import evaluation, files
from trainers.averaging import WeightAverage, reestimate_batch_norms
from trainers.checkpoints import Checkpoints, diverged
from trainers.cli import UserError
from trainers.config import TrainConfig
from trainers.datasets import load_source
from trainers.interrupts import Interrupts
from trainers.lock import locked
from trainers.optimizers import add_weight_decay, make_optimizer
from trainers.pipeline import evaluation_batches, reading_errors, training_batches
from trainers.progress import Progress
from trainers.schedules import learning_rate
from trainers.sources import Source
from trainers.strategy import make_strategy, synchronize_batch_norms
from trainers.task import Task

# Steps between two looks at the loss: each makes the host wait for the device.
_LOG_EVERY = 20
_NEVER = -1  # instead of a step
METRICS_FILE = "metrics.jsonl"


def train(
    config: TrainConfig, resume: bool = False, make_task: Callable[[TrainConfig], Task] = Task
) -> None:
    """Trains as the config says and leaves the results in its workdir.

    Args:
      config: the settings; its workdir holds a run already if, and only if, `resume`.
      resume: go on from the last checkpoint, bit-identical to a run that never stopped.
      make_task: gives what is to be trained, once the devices are set up.

    Raises:
      UserError: data, checkpoint or disk are not as they must be, another training runs in the
        workdir, or the training diverged.
      KeyboardInterrupt: Ctrl-C, after a checkpoint was saved.
      SystemExit: SIGTERM, the same, with `interrupts.EXIT_TERMINATED`.

    Examples:
      >>> train(make_config("digits", "/tmp/digits", {}))
    """
    with locked(config.workdir):
        strategy = make_strategy(config)
        train_source = load_source(config, config.train_split, must_match=resume)
        eval_source = load_source(config, config.eval_split, must_match=resume)
        _check_sources(config, train_source, eval_source)
        trainer = Trainer(make_task(config), strategy, train_source, eval_source)
        trainer.start(resume)
        trainer.run()


class Trainer:
    """A run: the network with its optimizer, its data, and what is written down.

    Args:
      task: what to train, with the settings.
      strategy: where to run.
      train_source, eval_source: the data.

    Attributes:
      model: the network.
      optimizer: its optimizer, which counts the steps taken.
      total_steps: steps of the whole run.
    """

    def __init__(
        self,
        task: Task,
        strategy: tf.distribute.Strategy,
        train_source: Source,
        eval_source: Source,
    ):
        config = task.config
        self._task, self._config, self._strategy = task, config, strategy
        self._train_source, self._eval_source = train_source, eval_source
        self._workdir = Path(config.workdir)
        epoch = train_source.num_examples / config.batch_size
        self.total_steps = config.steps or max(1, round(config.epochs * epoch))
        self._eval_every = config.eval_every or max(1.0, epoch)
        self._checkpoint_every = config.checkpoint_every or self._eval_every
        # Here and no earlier: preparing a data set draws from the same generators.
        keras.utils.set_random_seed(config.seed)
        with strategy.scope():
            self.model = task.build(train_source)
            synchronize_batch_norms(self.model, strategy.num_replicas_in_sync > 1)
            self.optimizer = make_optimizer(config, learning_rate(config, self.total_steps, epoch))
            self.optimizer.build(self.model.trainable_variables)
            self._average: WeightAverage | None = None
            if config.ema_decay:
                self._average = WeightAverage(self.model, config.ema_decay)
        # Outside of the scope: the host's alone.
        self._best = tf.Variable(-1.0, trainable=False, name="best_top1")
        self._evaluated = _NEVER  # step of the last evaluation
        self._count = evaluation.make_counter(self.model, strategy)
        self._checkpoints = Checkpoints(
            self._workdir / "checkpoints",
            self.model,
            self.optimizer,
            self._best,
            {"average": self._average.shadows} if self._average else None,
        )
        self._saved_at = time.monotonic()

    def start(self, resume: bool) -> None:
        """Restores the state, or writes down how a new run begins."""
        if resume:
            step = self._checkpoints.restore()
            self._evaluated = _keep_metrics_until(step, self._workdir / METRICS_FILE)
            print(f"resuming {self._workdir} at step {step} of {self.total_steps}", flush=True)
            return
        self._task.initialize(self.model)
        if self._average:
            self._average.reset()
        # In this order: a folder with a config has a checkpoint, or it is damaged.
        self._checkpoints.begin()
        names = "".join(f"{name}\n" for name in self._train_source.class_names)
        files.write_text(self._workdir / "labels.txt", names)
        self._task.save_config()

    def run(self) -> None:
        """Trains to the end, with evaluations and checkpoints on the way."""
        batch, start, began = self._config.batch_size, self._step(), time.monotonic()
        writer = tf.summary.create_file_writer(str(self._workdir / "tensorboard"))
        progress = Progress("training", self.total_steps * batch, start * batch)
        try:
            with (
                writer.as_default(),
                progress,
                reading_errors(self._config),
                Interrupts() as interrupts,
            ):
                self._run(progress, interrupts)
        # Ctrl-C and SIGTERM.
        except (KeyboardInterrupt, SystemExit):
            self._checkpoints.save()
            print(
                f"checkpoint of step {self._step()} saved; to go on: {self._task.resume_command()}",
                flush=True,
            )
            raise
        final = self._workdir / self._task.final_file
        with self._averaged():
            self._task.save(self.model, final)
        print(
            f"{self.total_steps - start} steps in {time.monotonic() - began:.0f} s; "
            f"the model is {final}",
            flush=True,
        )

    def _run(self, progress: Progress, interrupts: Interrupts) -> None:
        start = step = self._step()
        batches = training_batches(self._config, self._train_source, start)
        iterator = iter(self._strategy.experimental_distribute_dataset(batches))
        log = _Log(self._config.batch_size, progress)
        while True:
            last = step == self.total_steps
            if last and self._config.batch_norm_steps and self._evaluated != step:
                self._reestimate_batch_norms(iterator, interrupts)
            # A run that was stopped between training and evaluation catches up on it.
            evaluated = self._is_evaluation_due(step) and self._evaluated != step
            if evaluated:
                self._evaluate(step, log, interrupts)
            # At the start only the best accuracy can be new.
            if evaluated if step == start else last or self._is_checkpoint_due(step):
                self._checkpoints.save()
                self._saved_at = time.monotonic()
            if last:
                return
            interrupts.check()
            loss = self._train_step(iterator)
            step += 1
            if step % _LOG_EVERY == 0 or step == self.total_steps:
                log.write(step, float(loss), float(self.optimizer.learning_rate))

    def _is_evaluation_due(self, step: int) -> bool:
        if step == 0:
            return self._task.evaluates_start
        return step == self.total_steps or is_due(step, self._eval_every)

    def _is_checkpoint_due(self, step: int) -> bool:
        minutes = self._config.checkpoint_minutes
        if minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes:
            return True
        return is_due(step, self._checkpoint_every)

    def _averaged(self) -> contextlib.AbstractContextManager[None]:
        """The model has in the block what is evaluated and saved."""
        return self._average.swapped() if self._average else contextlib.nullcontext()

    def _reestimate_batch_norms(self, iterator: Iterator, interrupts: Interrupts) -> None:
        batches = itertools.islice(iterator, self._config.batch_norm_steps)
        with self._averaged():
            reestimate_batch_norms(self.model, self._strategy, batches, interrupts.check)

    def _step(self) -> int:
        return int(self.optimizer.iterations.numpy())

    @tf.function
    def _train_step(self, iterator: tf.data.Iterator) -> tf.Tensor:
        losses = self._strategy.run(self._replica_step, args=next(iterator))
        if self._average:
            self._average.update(self.optimizer.iterations.value)
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def _replica_step(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Takes one step on a device's share of the batch; returns its part of the loss."""
        config, variables = self._config, self.model.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.model(images, training=True)
            if config.precision != "float32":
                logits = tf.cast(logits, tf.float32)
            losses = self._task.losses(images, labels, logits)
            loss = tf.nn.compute_average_loss(losses, global_batch_size=config.batch_size)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, variables)
        # `apply` adds the devices' gradients up, so each brings its share of the decay.
        decay = config.weight_decay / self._strategy.num_replicas_in_sync
        decay = self.optimizer.scale_loss(decay)
        self.optimizer.apply(add_weight_decay(gradients, variables, decay), variables)
        return loss

    def _evaluate(self, step: int, log: "_Log", interrupts: Interrupts) -> None:
        """Evaluates, keeps the model if it is the best, and writes the scores down."""
        self._checkpoints.check_weights()
        batches = evaluation_batches(self._config, self._eval_source)
        distributed = self._strategy.experimental_distribute_dataset(batches)

        def count(batch: tuple) -> evaluation.Counts:
            # An evaluation can take minutes, a scheduler's patience ends sooner.
            interrupts.check()
            return self._count(batch)

        with self._averaged():
            scores = evaluation.summarize(map(count, distributed))
            if scores.top1 > float(self._best):
                self._task.save(self.model, self._workdir / self._task.best_file)
                self._best.assign(scores.top1)
        record = {
            "step": step,
            "epoch": round(step * self._config.batch_size / self._train_source.num_examples, 3),
            "train_loss": log.loss,
            "eval_loss": scores.loss,
            "top1": scores.top1,
            "top5": scores.top5,
            "eval_images": scores.images,
            "images_per_second": log.images_per_second,
            "skipped_train_images": len(self._train_source.skipped),
            "skipped_eval_images": len(self._eval_source.skipped),
        }
        with (self._workdir / METRICS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self._evaluated = step
        log.write_scores(step, scores)


class _Log:
    """What the user sees of the training: progress, and scalars for TensorBoard."""

    def __init__(self, batch_size: int, progress: Progress):
        self._batch_size, self._progress = batch_size, progress
        self._time, self._step = time.monotonic(), None
        self.loss: float | None = None
        self.images_per_second: float | None = None

    def write(self, step: int, loss: float, rate: float) -> None:
        """Shows loss and speed; raises UserError when the loss is not finite."""
        if not math.isfinite(loss):
            raise UserError(diverged(step))
        now = time.monotonic()
        # The first steps include the tracing of the graph, and say nothing of the speed.
        if self._step is not None:
            images = (step - self._step) * self._batch_size
            self.images_per_second = images / (now - self._time)
            tf.summary.scalar("train/images_per_second", self.images_per_second, step)
        self.loss, self._time, self._step = loss, now, step
        tf.summary.scalar("train/loss", loss, step)
        tf.summary.scalar("train/learning_rate", rate, step)
        self._progress.update(step * self._batch_size, loss=loss)

    def write_scores(self, step: int, scores: evaluation.Scores) -> None:
        """Shows an evaluation, whose time does not count as training."""
        for name in ("top1", "top5", "loss"):
            tf.summary.scalar(f"eval/{name}", getattr(scores, name), step)
        self._progress.say(
            f"step {step}: top-1 {scores.top1:.2%}, top-5 {scores.top5:.2%}, "
            f"loss {scores.loss:.4f} on {scores.images} images"
        )
        self._time, self._step = time.monotonic(), step


def is_due(step: int, every: float) -> bool:
    """Whether `step` is the nearest to a multiple of `every`, which need not be whole."""
    return step == round(round(step / every) * every)


def _check_sources(config: TrainConfig, train_source: Source, eval_source: Source) -> None:
    if train_source.class_names != eval_source.class_names:
        raise UserError(
            f"splits {config.train_split!r} and {config.eval_split!r} have different classes: "
            f"{len(train_source.class_names)} and {len(eval_source.class_names)}"
        )
    if config.preprocessing == "torch" and train_source.channels != 3:
        raise UserError(
            f"--preprocessing=torch is for colour images; {config.dataset} has "
            f"{train_source.channels} channel; name --preprocessing=tf"
        )


def _keep_metrics_until(step: int, path: Path) -> int:
    """Drops evaluations behind the checkpoint that a run resumes from; returns the last step."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        # The last line may be torn, when the run was killed while it was written.
        with contextlib.suppress(json.JSONDecodeError):
            records.append(json.loads(line))
    kept = [record for record in records if record["step"] <= step]
    files.write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
    return kept[-1]["step"] if kept else _NEVER
