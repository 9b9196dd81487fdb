"""The training loop, for one device and for many; `checkpoints` reads and writes its state."""

import contextlib
import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.console.progress import Progress
from common.memory import resident_megabytes
from trainers.checkpoints import Checkpoints
from trainers.config import TrainConfig, check_new
from trainers.consistency import check_splits, note_devices, what_workers_share
from trainers.data.class_names import read_labels, write_labels
from trainers.data.datasets import load_sources, print_notes
from trainers.data.pipeline import reading_errors
from trainers.data.sources import Source
from trainers.data.verification import forget
from trainers.distribution.cluster import ALONE, find_cluster
from trainers.distribution.interrupts import Interrupts
from trainers.distribution.strategy import (
    make_strategy,
    synchronize_batch_norms,
    trains_on_cpus,
)
from trainers.distribution.workers import Workers, lost_workers_reported, own_folder
from trainers.optimization.averaging import BatchNormStatistics, WeightAverage
from trainers.optimization.optimizers import make_optimizer
from trainers.optimization.schedules import learning_rate
from trainers.reporting import metrics
from trainers.reporting.log import Log
from trainers.task import Task
from trainers.training_graph.build import training_forward

# Steps between two reads of the loss, because each makes the host wait for the device.
_LOG_EVERY = 20
# Until these steps, and these epochs after the warm-up, weights change so fast that evaluations
# estimate BatchNorm's statistics again, from these batches.
_FAST_STEPS = 200
_FAST_EPOCHS = 2
_FITTING_BATCHES = 4


def train(
    config: TrainConfig,
    resume: bool = False,
    make_task: Callable[[TrainConfig], Task] = Task,
    load: Callable[..., list[Source]] = load_sources,
) -> None:
    """Trains as the config says and leaves the results in its workdir.

    Args:
      config: the settings; its workdir already holds a run if, and only if, `resume`.
      resume: continue from the last checkpoint, bit-identical to a run that never stopped.
      make_task: makes the task to train, once the devices are set up.
      load: opens the splits, with the arguments of `load_sources`.

    Raises:
      UserError: the data, a checkpoint or the disk cannot be used, another training runs in the
        workdir, or the training diverged.
      KeyboardInterrupt: Ctrl-C, after a checkpoint was saved.
      SystemExit: SIGTERM, also after a checkpoint, with `interrupts.EXIT_TERMINATED`.

    Examples:
      >>> train(make_config("digits", "/tmp/digits", {}))
    """
    cluster = find_cluster(config.placement)
    command = f"with --workdir={config.workdir} --resume"
    with own_folder(config.workdir, cluster) as workdir, lost_workers_reported(cluster, command):
        if not resume:
            # Looked at under the lock: another run may have ended since the command started.
            check_new(workdir)
            forget(workdir)
        config = config.replace(workdir=workdir)
        strategy = make_strategy(
            config.placement,
            config.optimization.batch_size,
            config.augmentation.repeated_augmentation,
            cluster,
        )
        workers = Workers(cluster, strategy)
        # One process prepares the data first, so that the others find it prepared.
        with workers.chief_first():
            splits = [config.data.train_split, config.data.eval_split]
            # The other workers' folders are new; they compare their classes with the chief's.
            labels = read_labels(workdir) if resume and cluster.is_chief else None
            train_source, eval_source = load(config.data, splits, workdir, resume, labels)
        check_splits(config, train_source, eval_source)
        if cluster.is_chief:
            print_notes(train_source, eval_source)
        workers.check_same(what_workers_share(config, train_source, eval_source))
        trainer = Trainer(make_task(config), strategy, train_source, eval_source, workers)
        trainer.start(resume)
        trainer.run()


class Trainer:
    """A run: the network with its optimizer, its data and its records.

    Args:
      task: what to train, with the settings.
      strategy: where to run.
      train_source, eval_source: the data.
      workers: the processes that train together; None: only this one.

    Attributes:
      model: the network.
      optimizer: its optimizer, which counts the steps taken.
      total_steps: number of steps of the whole run.
    """

    def __init__(
        self,
        task: Task,
        strategy: tf.distribute.Strategy,
        train_source: Source,
        eval_source: Source,
        workers: Workers | None = None,
    ):
        config, optimization = task.config, task.config.optimization
        self._workers = workers or Workers(ALONE, strategy)
        self._task, self._config, self._strategy = task, config, strategy
        self._train_source, self._eval_source = train_source, eval_source
        self._workdir = Path(config.workdir)
        epoch = train_source.num_examples / optimization.batch_size
        self.total_steps = optimization.steps or max(1, round(optimization.epochs * epoch))
        # The step from which the images have their final size, if they are smaller before.
        self._grows_at = round((config.images.train_size_epochs or 0) * epoch)
        warmup = (optimization.warmup_epochs + _FAST_EPOCHS) * epoch
        self._fast_until = max(_FAST_STEPS, round(warmup))
        often = task.epochs_between_evaluations * epoch
        self._eval_every = config.records.eval_every or max(1.0, often)
        self._checkpoint_every = config.records.checkpoint_every or self._eval_every
        # Not earlier, because preparing a data set draws from the same generators.
        keras.utils.set_random_seed(optimization.seed)
        task.weigh_classes(train_source)
        with strategy.scope():
            self.model = task.build(train_source)
            synchronize_batch_norms(self.model, strategy.num_replicas_in_sync > 1)
            # On other devices Keras's own graph: the rewritten one was measured on CPUs alone.
            self._forward = functools.partial(self.model, training=True)
            if trains_on_cpus():
                self._forward = training_forward(self.model)
            rate = learning_rate(optimization, self.total_steps, epoch)
            self.optimizer = make_optimizer(optimization, rate)
            self._learnt = task.learnt(self.model)
            self.optimizer.build(self._learnt)
            self._average: WeightAverage | None = None
            if optimization.ema_decay:
                self._average = WeightAverage(self.model, optimization.ema_decay)
        # Outside the scope: only the host uses it.
        self._best = tf.Variable(-1.0, trainable=False, name="best_top1")
        self._evaluated = metrics.NEVER  # step of the last evaluation
        self._count = task.make_counter(self.model, strategy, eval_source)
        self._batch_norms = BatchNormStatistics(self.model, strategy)
        self._checkpoints = Checkpoints(
            self._workdir / "checkpoints",
            self.model,
            self.optimizer,
            self._best,
            {"average": self._average.shadows} if self._average else None,
        )
        self._saved_at = time.monotonic()

    def start(self, resume: bool) -> None:
        """Restores the state, or saves the state that a new run starts with.

        With several workers, the chief decides, and all of them get its state.
        """
        (decision,) = self._workers.broadcast([np.array(resume)])
        if decision:
            self._resume()
        else:
            self._begin()
        self._share_state()

    def _resume(self) -> None:
        if not self._workers.is_chief:
            return
        step = self._checkpoints.restore()
        self._evaluated = metrics.keep_until(step, self._workdir)
        print(f"resuming {self._workdir} at step {step} of {self.total_steps}", flush=True)
        note_devices(self._workdir, self._strategy.num_replicas_in_sync)
        # So that the commands after the training find data that has moved.
        self._config.save_data_dir()

    def _begin(self) -> None:
        self._task.initialize(self.model, self._train_source)
        if self._average:
            self._average.reset()
        # In this order, so that a folder with a config also has a checkpoint, unless it is damaged.
        self._checkpoints.begin()
        write_labels(self._workdir, self._train_source.class_names)
        note_devices(self._workdir, self._strategy.num_replicas_in_sync)
        self._task.save_config()
        if self._workers.is_chief:
            size = self._config.optimization.batch_size
            print(
                f"{self.total_steps} steps with batches of {size}; the first step takes longest",
                flush=True,
            )

    def _share_state(self) -> None:
        """Gives every worker the chief's state."""
        variables = [*self.model.variables, *self.optimizer.variables, self._best]
        variables += self._average.shadows if self._average else []
        values = [variable.numpy() for variable in variables]
        *received, evaluated = self._workers.broadcast([*values, np.array(self._evaluated)])
        self._evaluated = int(evaluated)
        if not self._workers.is_chief:
            for variable, value in zip(variables, received, strict=True):
                variable.assign(value)

    def run(self) -> None:
        """Trains to the end; evaluates and saves checkpoints on the way."""
        batch, start, began = self._config.optimization.batch_size, self._step(), time.monotonic()
        writer = tf.summary.create_file_writer(str(self._workdir / "tensorboard"))
        progress = Progress("training", self.total_steps * batch, start * batch)
        try:
            with (
                writer.as_default(),
                progress,
                reading_errors(self._config.data.place),
                Interrupts() as interrupts,
            ):
                self._run(progress, functools.partial(self._workers.check, interrupts))
        # Ctrl-C and SIGTERM.
        except (KeyboardInterrupt, SystemExit):
            self._checkpoints.save()
            # A scheduler that sees one worker end may kill the others while they still write.
            self._workers.wait()
            print(
                f"checkpoint of step {self._step()} saved; "
                f"to continue: {self._task.resume_command()}",
                flush=True,
            )
            raise
        final = self._workdir / self._task.final_file
        with self._averaged():
            self._task.save(self.model, final)
        self._workers.wait()
        print(
            f"{self.total_steps - start} steps in {time.monotonic() - began:.0f} s; "
            f"the model is {final}",
            flush=True,
        )

    def _run(self, progress: Progress, check: Callable[[], None]) -> None:
        optimization = self._config.optimization
        start = step = self._step()
        iterator = iter(self._training_batches(start))
        log = Log(optimization.batch_size, progress)
        while True:
            last = step == self.total_steps
            if last and optimization.batch_norm_steps and self._evaluated != step:
                self._reestimate_batch_norms(iterator, check)
            # A run that was stopped between a step and its evaluation evaluates now.
            evaluated = self._is_evaluation_due(step) and self._evaluated != step
            if evaluated:
                self._evaluate(step, log, check)
            # At the start, only an evaluation can have changed the state (the best accuracy).
            if evaluated if step == start else last or self._is_checkpoint_due(step):
                self._checkpoints.save()
                self._saved_at = time.monotonic()
            if last:
                return
            check()
            if start < step == self._grows_at:
                iterator = iter(self._training_batches(step))
            loss = self._train_step(iterator)
            step += 1
            if step % _LOG_EVERY == 0 or step == self.total_steps:
                log.write(step, float(loss), float(self.optimizer.learning_rate))

    def _training_batches(self, start: int) -> tf.distribute.DistributedDataset:
        """Returns the training stream after step `start`, for the devices of this worker."""
        config = self._config
        if start >= self._grows_at:
            config = dataclasses.replace(config, images=config.images.grown())
        make = functools.partial(self._task.training_batches, config, self._train_source, start)
        return self._strategy.distribute_datasets_from_function(make)

    def _is_evaluation_due(self, step: int) -> bool:
        if step == 0:
            return self._task.evaluates_start
        return step == self.total_steps or is_due(step, self._eval_every)

    def _is_checkpoint_due(self, step: int) -> bool:
        minutes = self._config.records.checkpoint_minutes
        if minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes:
            return True
        return is_due(step, self._checkpoint_every)

    def _averaged(self) -> contextlib.AbstractContextManager[None]:
        """In the block, the model has the weights that are evaluated and saved."""
        return self._average.swapped() if self._average else contextlib.nullcontext()

    def _reestimate_batch_norms(self, iterator: Iterator, check: Callable[[], None]) -> None:
        batches = itertools.islice(iterator, self._config.optimization.batch_norm_steps)
        with self._averaged():
            self._batch_norms.reestimate(batches, check)

    def _fitted_batch_norms(
        self, step: int, check: Callable[[], None]
    ) -> contextlib.AbstractContextManager[None]:
        """In the block, early in a training, BatchNorm's statistics fit the present weights.

        They come from the batches that follow, so that a run that was stopped gets the same ones.
        The last evaluation is of what is saved.
        """
        if not 0 < step < min(self._fast_until, self.total_steps):
            return contextlib.nullcontext()
        batches = itertools.islice(iter(self._training_batches(step)), _FITTING_BATCHES)
        return self._batch_norms.fitted(batches, check)

    def _step(self) -> int:
        return int(self.optimizer.iterations.numpy())

    @tf.function(autograph=False)
    def _train_step(self, iterator: tf.data.Iterator) -> tf.Tensor:
        losses = self._strategy.run(self.replica_step, args=next(iterator))
        if self._average:
            self._average.update(self.optimizer.iterations.value)
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def replica_step(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Trains one step on a device's share of the batch; returns its share of the loss."""
        config, variables = self._config.optimization, self._learnt
        with tf.GradientTape() as tape:
            logits = self._forward(images)
            if config.precision != "float32":
                logits = tf.cast(logits, tf.float32)
            losses = self._task.losses(images, labels, logits)
            loss = tf.nn.compute_average_loss(losses, global_batch_size=config.batch_size)
            # Regularizers and `add_loss`; a list that is empty for the networks of this package.
            for own in self.model.losses:
                loss += tf.nn.scale_regularization_loss(tf.cast(own, tf.float32))
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, variables)
        self.optimizer.apply(gradients, variables)
        return loss

    def _evaluation_batches(self) -> Iterator:
        def make(context: tf.distribute.InputContext) -> tf.data.Dataset:
            # Endless, because otherwise the workers would ask each other at every batch whether
            # it is the last.
            return self._task.evaluation_batches(self._eval_source, context).repeat()

        batches = self._strategy.distribute_datasets_from_function(make)
        size = self._config.optimization.batch_size
        count = math.ceil(self._eval_source.num_examples / size)
        return itertools.islice(batches, count)

    def _evaluate(self, step: int, log: Log, check: Callable[[], None]) -> None:
        """Evaluates, saves the model if it is the best, and records the scores."""
        self._checkpoints.check_weights()

        def count(batch: tuple) -> Any:
            # An evaluation can take minutes, and a scheduler does not wait that long.
            check()
            return self._count(batch)

        with self._averaged(), self._fitted_batch_norms(step, check):
            counts = map(count, self._evaluation_batches())
            scores = self._task.summarize(counts, self._workers.add)
            if scores.best > float(self._best):
                self._task.save(self.model, self._workdir / self._task.best_file)
                self._best.assign(scores.best)
        seen = step * self._config.optimization.batch_size
        record = {
            "step": step,
            "epoch": round(seen / self._train_source.num_examples, 3),
            "train_loss": log.loss,
            **scores.record(),
            "eval_images": scores.images,
            "images_per_second": log.images_per_second,
            "memory_mb": resident_megabytes(),
            "skipped_train_images": len(self._train_source.skipped),
            "skipped_eval_images": len(self._eval_source.skipped),
        }
        metrics.append(self._workdir, record)
        self._evaluated = step
        log.write_scores(step, scores)


def is_due(step: int, every: float) -> bool:
    """Returns whether `step` is the nearest to a multiple of `every`, which may be fractional."""
    return step == round(round(step / every) * every)
