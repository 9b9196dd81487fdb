"""Runs and times detectors in several runtimes; see `edge.running.worker.call`."""

import numpy as np

from benchmarks.other_runtimes.models import infer, load
from edge.running import worker
from edge.running.timing import pin, take_turns


def reply(request: dict) -> dict:
    """Saves the outputs of the request's one model if it has `outputs`, or times its models.

    Args:
      request: `models`, each as [runtime, path, path of images]; `core`; `outputs`, the path for
        what the first model computes, [images, values], or else what `take_turns` needs.

    Returns:
      Nothing, or `milliseconds` [models, rounds] of one inference.
    """
    pin([request["core"]])
    models = [load(runtime, path) for runtime, path, _ in request["models"]]
    images = [np.load(path) for _, _, path in request["models"]]
    if "outputs" in request:
        np.save(request["outputs"], [infer(models[0], image) for image in images[0]])
        return {}
    for model, first in zip(models, images, strict=True):
        model.set_input(first[:1])
    return {"milliseconds": take_turns(models, request)}


if __name__ == "__main__":
    worker.serve(reply)
