"""Random weights and images, for what does not depend on them: latency, memory, operators."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from trainers.distribution.strategy import batch_norms

SEED = 0
# Enough for ranges of about the right width; the exact values do not change the time.
CALIBRATION_IMAGES = 4


def random_network(build: Callable[[], keras.Model]) -> keras.Model:
    """Returns what `build` returns, with random weights that are the same every time."""
    keras.utils.set_random_seed(SEED)
    model = build()
    randomize_batch_norms(model)
    return model


def randomize_batch_norms(model: keras.Model, seed: int = SEED) -> None:
    """Sets random weights and statistics in every BatchNormalization: fresh ones do nothing."""
    rng = np.random.default_rng(seed)
    for layer in batch_norms(model):
        channels = layer.moving_mean.shape[0]
        gamma, beta = rng.uniform(0.5, 1.5, channels), rng.normal(0, 0.3, channels)
        mean, variance = rng.normal(0, 0.3, channels), rng.uniform(0.3, 1.5, channels)
        # In Keras's order; some have no scale.
        parts = [*[gamma] * layer.scale, *[beta] * layer.center, mean, variance]
        layer.set_weights(parts)


def calibration_images(input_shape: Sequence[int | None]) -> np.ndarray:
    """Returns random float32 images in [-1, 1] for an input (batch, height, width, channels)."""
    shape = (CALIBRATION_IMAGES, *input_shape[1:])
    return np.random.default_rng(SEED).uniform(-1, 1, shape).astype(np.float32)
