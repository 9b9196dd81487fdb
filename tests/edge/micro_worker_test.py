import pytest

from edge.devices.micro_sim import _values
from edge.worker import Reply


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
