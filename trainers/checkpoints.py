"""The state of a run on disk: saved whole, restored exactly, never silently forgotten."""

from pathlib import Path

import keras
import tensorflow as tf

from trainers.cli import UserError

# The one before the last is still there when the last one turns out damaged.
_KEPT = 2


class Checkpoints:
    """Saves and restores network, optimizer and the best accuracy of a run.

    The step is the optimizer's own count, so that it can never disagree with the weights.

    Args:
      folder: where the checkpoints lie.
      model: the network.
      optimizer: built for the network's variables.
      best: float32 variable, the best top-1 so far.

    Raises:
      UserError: the folder's state file is damaged.
    """

    def __init__(
        self,
        folder: str | Path,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        best: tf.Variable,
    ):
        self._model, self._optimizer = model, optimizer
        # A fake-quantized model's kernels hide from it; the optimizer's list of variables has them.
        self._checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, best=best)
        try:
            self._manager = tf.train.CheckpointManager(self._checkpoint, str(folder), _KEPT)
        except ValueError:  # an empty state file; one that is cut later is silently ignored
            raise UserError(_no_checkpoint(folder)) from None

    def save(self) -> None:
        """Saves the state as it is, after a check that it is worth keeping.

        Raises:
          UserError: weights that are no numbers, or the disk does not take it.
        """
        self.check_weights()
        step = int(self._optimizer.iterations.numpy())
        try:
            self._manager.save(checkpoint_number=step)
        except tf.errors.OpError as error:
            raise UserError(
                f"checkpoint of step {step} cannot be written to {self._manager.directory} "
                f"({error.message.strip()}); free some space or name another --workdir"
            ) from None

    def check_weights(self) -> None:
        """Raises UserError when weights are no numbers: such a state is not worth keeping."""
        # tfmot's wrappers count steps in integers.
        weights = [w for w in self._model.weights if tf.as_dtype(w.dtype).is_floating]
        if not all(tf.reduce_all(tf.math.is_finite(weight)) for weight in weights):
            raise UserError(diverged(int(self._optimizer.iterations.numpy())))

    def restore(self) -> int:
        """Restores the last checkpoint and returns its step.

        Raises:
          UserError: there is none, or it is damaged or of another network.
        """
        path = self._manager.latest_checkpoint
        if path is None:
            raise UserError(_no_checkpoint(self._manager.directory))
        try:
            self._checkpoint.restore(path).assert_existing_objects_matched()
        except (tf.errors.OpError, IndexError, AssertionError, ValueError) as error:
            raise UserError(
                f"checkpoint {path} cannot be restored ({type(error).__name__}: "
                f"{str(error).strip().partition(chr(10))[0]}); restore its files, or name an "
                f"older one in {Path(path).parent / 'checkpoint'}"
            ) from None
        return int(self._optimizer.iterations.numpy())


def diverged(step: int) -> str:
    """Returns the message for a training whose numbers are none any more."""
    return (
        f"the loss or the weights are not finite at step {step}: the training diverged; "
        "lower --learning_rate or raise --warmup_epochs, and start in a new --workdir"
    )


def _no_checkpoint(folder: str | Path) -> str:
    return (
        f"no checkpoint can be found in {folder}: its file 'checkpoint' is missing or damaged; "
        "restore the folder, or train in a new --workdir"
    )
