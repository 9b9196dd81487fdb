"""The state of a run on disk: saved completely, restored exactly, never lost without a message."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from common import files
from common.cli import UserError

# TensorFlow appends .index and .data-00000-of-00001, and _temp while it is writing.
_PREFIX = "ckpt-"
_STATE_FILE = "checkpoint"


class Checkpoints:
    """Saves and restores the network, the optimizer and the best accuracy of a run.

    The step is the optimizer's own count, so it can never disagree with the weights. The last two
    checkpoints are kept: if the last one is damaged, the other is used. They are found by their
    names. TensorFlow's state file `checkpoint` is written for its own tools and never read,
    because a damaged one would hide all checkpoints.

    Args:
      folder: where the checkpoints are; created if missing.
      model: the network.
      optimizer: built for the network's variables.
      best: float32 variable, the best top-1 so far.
      more: the rest of a run's state, by name, such as lists of variables.
    """

    def __init__(
        self,
        folder: str | Path,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        best: tf.Variable,
        more: Mapping[str, Any] | None = None,
    ):
        self._folder, self._model, self._optimizer = Path(folder), model, optimizer
        # The kernels of a fake-quantized model are not among the model's own variables, but they
        # are in the optimizer's list.
        self._checkpoint = tf.train.Checkpoint(
            model=model, optimizer=optimizer, best=best, **(more or {})
        )
        self._damaged: set[int] = set()  # steps of checkpoints that could not be restored

    def begin(self) -> None:
        """Saves the state that a new run starts with.

        Raises:
          UserError: the folder already has the checkpoints of a run, or for the reasons of `save`.
        """
        if any(step > 0 for step in self._steps()):
            raise UserError(
                f"{self._folder} holds the checkpoints of another run; restore its config.json "
                "and add --resume, or name another --workdir"
            )
        self.save()

    def save(self) -> None:
        """Checks that the weights are finite, then saves the current state.

        Raises:
          UserError: non-finite weights, or the checkpoint cannot be written.
        """
        self.check_weights()
        step = self._step()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._checkpoint.write(str(self._path(step)))
            # The others are removed only now that the new one exists.
            self._damaged.discard(step)
            self._forget_all_but_two(step)
        except (tf.errors.OpError, OSError) as error:
            self._remove(f"{_PREFIX}{step}_temp*")
            reason = getattr(error, "message", None) or str(error)
            raise UserError(
                f"the checkpoint of step {step} cannot be written to {self._folder} "
                f"({reason.strip()}); free some space or name another --workdir"
            ) from None

    def check_weights(self) -> None:
        """Raises UserError if a weight is non-finite: such a state is not worth keeping."""
        # tfmot's wrappers count steps in integers.
        weights = [w for w in self._model.weights if tf.as_dtype(w.dtype).is_floating]
        if not all(tf.reduce_all(tf.math.is_finite(weight)) for weight in weights):
            raise UserError(diverged(self._step()))

    def restore(self) -> int:
        """Restores the newest complete checkpoint and returns its step.

        Prints the names of damaged ones.

        Raises:
          UserError: there is no checkpoint, or all are damaged or from another network.
        """
        damaged = []
        for step in sorted(self._steps(), reverse=True):
            try:
                # The whole state of the run must be found; anything more is ignored.
                status = self._checkpoint.read(str(self._path(step))).expect_partial()
                status.assert_existing_objects_matched()
            except (tf.errors.OpError, IndexError, AssertionError, ValueError) as error:
                reason = str(error).strip().partition("\n")[0]
                damaged.append(f"{self._path(step)} ({type(error).__name__}: {reason})")
                self._damaged.add(step)
                continue
            for checkpoint in damaged:
                print(
                    f"checkpoint {checkpoint} cannot be restored; using the earlier one, of step "
                    f"{step}",
                    flush=True,
                )
            return step
        if damaged:
            raise UserError(
                f"no checkpoint can be restored: {'; '.join(damaged)}; restore the files, or "
                "train in a new --workdir"
            )
        raise UserError(
            f"no checkpoint can be found in {self._folder}: its files {_PREFIX}* are missing; "
            "restore the folder, or train in a new --workdir"
        )

    def _step(self) -> int:
        return int(self._optimizer.iterations.numpy())

    def _path(self, step: int) -> Path:
        return self._folder / f"{_PREFIX}{step}"

    def _steps(self) -> set[int]:
        """Returns the steps of all checkpoints, including those with a missing file."""
        names = (path.name for path in self._folder.glob(f"{_PREFIX}*"))
        found = (re.fullmatch(rf"{_PREFIX}(\d+)\.(index|data-.*)", name) for name in names)
        return {int(match[1]) for match in found if match}

    def _forget_all_but_two(self, last: int) -> None:
        older = sorted(step for step in self._steps() - self._damaged if step < last)
        kept = {last, *older[-1:]}
        self._remove(f"{_PREFIX}*_temp*")  # from a run that was killed while writing
        for step in self._steps() - kept:
            self._remove(f"{_PREFIX}{step}.*")
        names = [self._path(step).name for step in sorted(kept)]
        lines = [f'model_checkpoint_path: "{names[-1]}"']
        lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
        files.write_text(self._folder / _STATE_FILE, "\n".join(lines) + "\n")

    def _remove(self, pattern: str) -> None:
        for path in self._folder.glob(pattern):
            path.unlink() if path.is_file() else tf.io.gfile.rmtree(str(path))


def diverged(step: int) -> str:
    """Returns the message for a training whose loss or weights have become non-finite."""
    return (
        f"the loss or the weights are non-finite at step {step}: the training diverged; "
        "lower --learning_rate or raise --warmup_epochs, and start in a new --workdir"
    )
