"""Runs and times networks in several runtimes side by side; see `edge.running.worker.call`."""

import numpy as np

from benchmarks.other_runtimes.models import infer, load
from edge.running import worker
from edge.running.timing import pin, take_turns


def measure(request: dict) -> dict:
    """Runs the request's models on its images; times them in interleaved rounds on the first one.

    Returns:
      `logits` [models, images, classes], and `milliseconds` [models, rounds] of one inference, as
      `edge.running.timing.take_turns` measures them.
    """
    pin([request["core"]])
    images = np.load(request["images"])
    models = [load(runtime, path) for runtime, path in request["models"]]
    logits = [[infer(model, image).tolist() for image in images] for model in models]
    for model in models:
        model.set_input(images[:1])
    return {"logits": logits, "milliseconds": take_turns(models, request)}


if __name__ == "__main__":
    worker.serve(measure)
