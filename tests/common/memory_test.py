from pathlib import Path

import numpy as np
import pytest

from common import memory


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_that_is_held_counts():
    before = memory.resident_megabytes()
    held = np.ones(50_000_000, np.uint8)
    assert 40 < memory.resident_megabytes() - before < 80
    assert held.any()


def test_where_the_system_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "nothing")
    assert memory.resident_megabytes() is None
