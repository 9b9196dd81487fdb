import numpy as np

from edge.litert_worker import measure, time_interleaved


class ModelDouble:
    """Stands in for LiteRTModel and writes down when it runs."""

    input_shape = (1, 2, 2, 1)

    def __init__(self, name, journal):
        self.name, self.journal = name, journal

    def quantize_input(self, x):
        return np.float32(x)

    def set_input(self, x):
        self.journal.append(f"set {self.name}")

    def run(self):
        self.journal.append(f"run {self.name}")


def test_models_take_turns_and_warm_up_is_not_counted():
    journal = []
    timings = time_interleaved([ModelDouble(name, journal) for name in "ab"], warmup=1, runs=2)
    assert journal == ["set a", "run a", "set b", "run b"] * 3
    assert [len(times) for times in timings] == [2, 2]
    assert min(min(times) for times in timings) >= 0


def test_single_file_is_measured(artifact_dir):
    values = measure(
        {
            "task": "single",
            "artifact": str(artifact_dir),
            "file": "deployment_int8_ptq.tflite",
            "threads": 1,
        }
    )
    assert set(values) == {
        *("initialization_ms", "peak_memory_bytes", "model_memory_bytes"),
        *("accuracy", "accuracy_images"),
    }
    assert 0 <= values["model_memory_bytes"] < values["peak_memory_bytes"]
    assert values["accuracy_images"] == 100
