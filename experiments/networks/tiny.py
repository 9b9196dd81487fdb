"""Small ShuffleNet V2s for the tasks of MLPerf Tiny: candidates beside its reference models."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from keras_shufflenet import ShuffleNetV2


class Tiny(NamedTuple):
    """The widths and depth of a network: output channels, and the units of each stage."""

    stem: int
    stages: tuple[int, ...]
    head: int
    units: tuple[int, ...] = (4, 8, 4)


# Fewer units leave more channels for the same bytes and multiply-adds, and TFLite Micro keeps a
# table for each operator.
CIFAR = {
    "v2-8-16-32-64-128": Tiny(8, (16, 32, 64), 128),
    "v2-16-32-64-128-128 (2-4-2 units)": Tiny(16, (32, 64, 128), 128, (2, 4, 2)),
    "v2-16-32-64-96-128 (3-5-2 units)": Tiny(16, (32, 64, 96), 128, (3, 5, 2)),
    "v2-16-40-80-112-96 (2-3-2 units)": Tiny(16, (40, 80, 112), 96, (2, 3, 2)),
    "v2-24-48-80-96-96 (2-3-1 units)": Tiny(24, (48, 80, 96), 96, (2, 3, 1)),
    # Two stages: maps of 8x8 remain until the pool, where most of the reference's work is too.
    "v2-24-52-136-64 (2-3 units)": Tiny(24, (52, 136), 64, (2, 3)),
    "v2-20-52-136-64 (2-3 units)": Tiny(20, (52, 136), 64, (2, 3)),
}
VISUAL_WAKE_WORDS = {
    "v2-8-16-32-64-128": Tiny(8, (16, 32, 64), 128),
    "v2-16-32-64-128-256": Tiny(16, (32, 64, 128), 256),
    "v2-16-32-64-128-512": Tiny(16, (32, 64, 128), 512),
}


def build(
    tiny: Tiny, input_shape: Sequence[int], classes: int, small_images: bool, **options: Any
) -> keras.Model:
    """Returns a network that returns logits.

    Args:
      tiny: its widths and units.
      input_shape: (height, width, channels).
      classes: number of classes.
      small_images: a stem of stride 1 and no max-pool.
      **options: further arguments of `ShuffleNetV2`.

    Examples:
      >>> build(Tiny(8, (16, 32, 64), 128), (32, 32, 3), 10, small_images=True).count_params()
      35506
    """
    return ShuffleNetV2(
        input_shape=tuple(input_shape),
        classes=classes,
        classifier_activation=None,
        small_images=small_images,
        units_per_stage=tiny.units,
        stem_channels=tiny.stem,
        stage_channels=tiny.stages,
        head_channels=tiny.head,
        **options,
    )
