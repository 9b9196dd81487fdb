"""Measures V1's training step: grouped convolutions as such, and by block-diagonal matrices.

Prints a line for each network; the two kinds take turns.

Example:
  python -m benchmarks.grouped_training
"""

import statistics
import time
from collections.abc import Callable

from absl import flags

from common import cli
from common.table import format_table
from trainers.startup import import_tensorflow

_BATCH = flags.DEFINE_integer("batch_size", 64, "Images of a step.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 7, "Steps of each kind that are timed.", lower_bound=1)
_GROUPS = (3, 8)


def main() -> None:
    """Times both kinds of step for V1 0.5x on images of 32 pixels."""
    import_tensorflow()
    rows = []
    for groups in _GROUPS:
        steps = {kind: _make_step(groups, kind == "grouped") for kind in ("grouped", "matrix")}
        times = _take_turns(steps, _STEPS.value)
        ratios = [a / b for a, b in zip(times["grouped"], times["matrix"], strict=True)]
        ms = [f"{1000 * statistics.median(values):.0f}" for values in times.values()]
        spread = f"{statistics.median(ratios):.1f}x ({min(ratios):.1f}-{max(ratios):.1f})"
        rows.append([f"v1-0.5x-g{groups}", *ms, spread])
    print(format_table(["network", "grouped, ms", "matrix, ms", "faster"], rows))


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


def _make_step(groups: int, grouped: bool) -> Callable[[], object]:
    """Returns a function that takes the gradients of one batch."""
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


def _take_turns(steps: dict[str, Callable[[], object]], count: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {kind: [] for kind in steps}
    for _ in range(count):
        for kind, step in steps.items():
            start = time.perf_counter()
            step()
            times[kind].append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    entry_point()
