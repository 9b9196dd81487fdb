"""Measures V1's training step: with grouped convolutions, and with block-diagonal matrices.

Prints a line for each network; the two kinds run in interleaved rounds.

Example:
  python -m benchmarks.grouped_training
"""

import functools
from collections.abc import Callable

import numpy as np
from absl import flags

from common import cli
from common.console.table import format_table
from edge.running.measurement import interval, spread
from edge.running.runner import timed
from edge.running.side_by_side import interleave
from trainers.startup import import_tensorflow

_BATCH = flags.DEFINE_integer("batch_size", 64, "Images per step.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 7, "Timed steps of each kind.", lower_bound=1)
_GROUPS = (3, 8)


def main() -> None:
    """Times both kinds of step for V1 0.5x on images of 32 pixels."""
    import_tensorflow()
    rows = []
    for groups in _GROUPS:
        steps = {kind: _make_step(groups, kind == "grouped") for kind in ("grouped", "matrix")}
        tasks = {kind: functools.partial(timed, step) for kind, step in steps.items()}
        times = interleave(tasks, _STEPS.value)
        ms = [f"{np.median(values):.0f}" for values in times.values()]
        ratio = interval(spread(np.divide(times["grouped"], times["matrix"])), 1, unit="x")
        rows.append([f"v1-0.5x-g{groups}", *ms, ratio])
    print(format_table(["network", "grouped, ms", "matrix, ms", "faster"], rows))


def _make_step(groups: int, grouped: bool) -> Callable[[], object]:
    """Returns a function that computes the gradients of one batch."""
    import keras
    import tensorflow as tf

    from keras_shufflenet import ShuffleNetV1
    from keras_shufflenet.keras_internals import flat_layers
    from keras_shufflenet.layers import GroupedPointwise

    model = ShuffleNetV1(0.5, groups, small_images=True, classes=10)
    images = tf.random.stateless_normal((_BATCH.value, 32, 32, 3), (0, 0))
    if grouped:
        for layer in flat_layers(model):
            if isinstance(layer, GroupedPointwise):
                layer.call = super(GroupedPointwise, layer).call
    keras.utils.set_random_seed(0)

    @tf.function
    def step() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(images, training=True) ** 2)
        return tape.gradient(loss, model.trainable_variables)

    step()
    return step


if __name__ == "__main__":
    cli.run(main)
