"""An artifact's samples on devices: what goes in, and how good what comes out is."""

from collections.abc import Sequence

import numpy as np

from common.artifact import Artifact
from common.comparison import relative_errors
from common.manifest import CLASSIFICATION, DETECTION, sample_array
from common.tflite.litert import dequantized


def sample_inputs(manifest: dict) -> list[dict]:
    """Returns for each input the name of its `array` in samples.npz, and what its pixels become.

    `scale` and `offset` are those of uint8 pixels; None where samples are values as they are.
    """
    arrays = {} if manifest["samples"] is None else manifest["samples"]["arrays"]
    found = []
    for index, fields in enumerate(manifest["inputs"]):
        array = sample_array(manifest, index)
        is_pixels = arrays.get(array, {"dtype": "uint8"})["dtype"] == "uint8"
        constants = fields["preprocessing"] if is_pixels else None
        found.append({"array": array, **_constants(constants)})
    return found


def _constants(preprocessing: dict | None) -> dict:
    return {
        key: None if preprocessing is None else preprocessing[key] for key in ("scale", "offset")
    }


def noise_samples(count: int, manifest: dict) -> dict[str, np.ndarray]:
    """Returns noise, always the same, in place of samples.npz, for artifacts without samples.

    Args:
      count: the number of samples.
      manifest: the artifact's; images are uint8 pixels, other inputs values from -1 to 1.
    """
    rng = np.random.default_rng(0)
    found = {}
    for index, fields in enumerate(manifest["inputs"]):
        shape = (count, *fields["shape"][1:])
        if fields["preprocessing"] is None:
            noise = rng.uniform(-1, 1, shape).astype(np.float32)
        else:
            noise = rng.integers(0, 256, shape, np.uint8)
        found[sample_array(manifest, index)] = noise
    return found


def correctness(artifact: Artifact, file: str, outputs: Sequence[np.ndarray] | None) -> dict:
    """Returns how good a file's raw outputs for the samples are.

    Args:
      artifact: with the samples.
      file: the name of one of its files.
      outputs: raw, each [n, ...], of the first samples; None if there are none.

    Returns:
      `accuracy` and `accuracy_images` where the correct classes are known, else None and 0. Of
      detectors, whose `accuracy` is None, also `ap` and `ap50`. Of networks of other tasks also
      `keras_agreement`: `max` and `rms` error in standard deviations of the Keras model's outputs
      (of the worst output), and the number of `images`.
    """
    unknown = {"accuracy": None, "accuracy_images": 0}
    # Without samples the outputs are those of noise.
    if outputs is None or artifact.manifest["samples"] is None:
        return unknown
    count = len(outputs[0])
    if artifact.task == CLASSIFICATION:
        labels = artifact.sample_labels()
        if labels is None:
            return unknown
        right = outputs[0].argmax(axis=-1) == labels[:count]
        return {"accuracy": float(right.mean()), "accuracy_images": count}
    if artifact.task == DETECTION:
        truths = artifact.sample_truths(count)
        if truths is None:
            return unknown
        raw = _dequantized(outputs[0], artifact.files[file]["outputs"][0])
        return artifact.decoding.scores(raw, truths)
    names = [f"output_{index}" for index in range(len(outputs))]
    expected = artifact.sample_arrays(names, count)
    if expected is None or any(x.std() == 0 for x in expected):
        return unknown
    errors = [
        relative_errors(theirs, _dequantized(ours, fields))
        for theirs, ours, fields in zip(
            expected, outputs, artifact.files[file]["outputs"], strict=True
        )
    ]
    worst = max(errors, key=lambda error: error["rms"])
    return {**unknown, "keras_agreement": {**worst, "images": count}}


def _dequantized(raw: np.ndarray, fields: dict) -> np.ndarray:
    scale = fields["scale"]
    return dequantized(raw, None if scale is None else (scale, fields["zero_point"]))
