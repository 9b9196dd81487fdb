import numpy as np
import pytest

from edge.devices.micro_sim import _values
from edge.micro_worker import compare_integers
from edge.worker import Reply


def test_integers_are_compared_in_last_bits():
    expected = np.array([[127, -128, 0, 5]], np.int8)
    actual = np.array([[-128, -128, 1, 3]], np.int8)
    found = compare_integers(expected, actual)
    # 255, not the -1 of an int8 that wrapped around.
    assert found == {"max_lsb": 255, "exact": 0.25, "within_1_lsb": 0.5, "images": 1}


@pytest.mark.parametrize(
    ("notes", "arena"),
    [
        (
            "INFO: XNNPACK\n[RecordingMicroAllocator] Arena allocation total 8720 bytes\n"
            "[RecordingMicroAllocator] Arena allocation head 6144 bytes\n",
            8720,
        ),
        ("nothing of the kind", None),
    ],
)
def test_arena_is_read_from_the_allocator(notes, arena):
    values = _values(Reply({"milliseconds": [1.0], "accuracy": 0.5}, notes))
    assert values["arena_bytes"] == arena
    assert (values["simulation"], values["accuracy"]) == (True, 0.5)
    assert "milliseconds" not in values
