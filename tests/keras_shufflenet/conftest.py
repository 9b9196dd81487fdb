"""What the tests of the networks share."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def randomize():
    """`randomize(model)` moves biases and BatchNormalization off their start, and returns it.

    At its start a forgotten statistic would not show.
    """

    def randomized(model, seed=0):
        generator = np.random.default_rng(seed)
        for weight in model.weights:
            if weight.name in ("gamma", "moving_variance"):
                weight.assign(generator.uniform(0.5, 1.5, weight.shape))
            elif weight.name != "kernel":
                weight.assign(generator.normal(0, 0.1, weight.shape))
        return model

    return randomized
