"""What goes into a device, and how good what comes out is."""

import numpy as np
import pytest

from common.artifact import Artifact
from edge.running.samples import correctness, noise_samples, sample_inputs

IMAGE = {
    "name": "image",
    "shape": [1, 8, 8, 1],
    "preprocessing": {"scale": [0.5], "offset": [-1.0]},
}
VECTOR = {"name": "age", "shape": [1, 5], "preprocessing": None}


class FakeArtifact(Artifact):
    """An artifact whose samples are in memory."""

    def __init__(self, task, names=(), **arrays):
        described = {
            name: {"shape": list(array.shape[1:]), "dtype": array.dtype.name}
            for name, array in arrays.items()
        }
        count = len(next(iter(arrays.values())))
        manifest = {
            "task": task,
            "inputs": [IMAGE],
            "samples": {"images": count, "arrays": described},
            "files": {"a.tflite": {"outputs": [{"scale": 0.5, "zero_point": 1}]}},
        }
        super().__init__(None, manifest, list(names))
        self.arrays = arrays

    def sample_arrays(self, names, limit=None):
        if not set(names) <= self.arrays.keys():
            return None
        return [self.arrays[name][:limit] for name in names]


def test_accuracy_is_the_share_of_correct_classes():
    outputs = [np.array([[3, 1], [-2, 5], [7, 0], [9, 8]], np.int8)]
    labels = np.array([0, 1, 1, 0], np.int32)
    artifact = FakeArtifact("classification", ["a", "b"], labels=labels)
    found = correctness(artifact, "a.tflite", outputs)
    assert found == {"accuracy": 0.75, "accuracy_images": 4}
    unknown = FakeArtifact("classification", ["a", "b"], images=np.zeros((4, 8, 8, 1), np.uint8))
    assert correctness(unknown, "a.tflite", outputs) == {"accuracy": None, "accuracy_images": 0}


def test_other_outputs_are_compared_with_the_keras_model_s():
    artifact = FakeArtifact("other", output_0=np.float32([[0.0, 2.0], [0.0, 2.0]]))
    raw = [np.array([[1, 5], [1, 6]], np.int8)]  # 0, 2, 0, 2.5
    found = correctness(artifact, "a.tflite", raw)
    assert found["keras_agreement"] == {"max": 0.5, "rms": pytest.approx(0.25), "images": 2}
    assert found["accuracy"] is None


def test_pixels_are_normalized_and_values_are_taken_as_they_are():
    pixels = FakeArtifact("other", images=np.zeros((2, 8, 8, 1), np.uint8)).manifest
    assert sample_inputs(pixels) == [{"array": "images", "scale": [0.5], "offset": [-1.0]}]
    values = FakeArtifact("other", input_0=np.zeros((2, 8, 8, 1), np.float32)).manifest
    assert sample_inputs(values) == [{"array": "input_0", "scale": None, "offset": None}]


def test_noise_is_always_the_same_and_of_each_input_s_kind():
    manifest = {"inputs": [IMAGE], "samples": None}
    images = noise_samples(3, manifest)["images"]
    assert (images.shape, images.dtype) == ((3, 8, 8, 1), np.uint8)
    np.testing.assert_array_equal(images, noise_samples(3, manifest)["images"])
    both = noise_samples(3, {"inputs": [IMAGE, VECTOR], "samples": None})
    assert both["input_0"].dtype == np.uint8 and both["input_1"].dtype == np.float32
