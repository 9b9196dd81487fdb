"""The virtual ARM machine: with a fake qemu, and slowly with the real one."""

import json
from pathlib import Path

import pytest

from benchmarks.measuring.arm_guest import instructions
from common.cli import UserError

ROOT = Path(__file__).resolve().parents[3]
GUEST = ROOT / "build/arm-guest"
COUNTS = "LOOP 1000000 2000500\r\nLOOP 16000000 32001700\r\n"
REPLY = {"milliseconds": [[9.0, 0.25, 0.252], [3.0, 0.5, 0.5]], "machine": {"cpu": "fake"}}


@pytest.fixture
def files(artifact_dir):
    return [artifact_dir / f"{graph}_int8_ptq.tflite" for graph in ("canonical", "deployment")]


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """`fake(console)` puts a qemu that prints it before all others; returns a guest's folder."""
    guest = tmp_path / "guest"
    (guest / "root/bin").mkdir(parents=True)
    (guest / "root/bin/tool").write_text("a tool")
    (guest / "root/bin/link").symlink_to("tool")
    (guest / "vmlinuz").write_text("a kernel")

    def make(console):
        (tmp_path / "console").write_bytes(console.encode())
        program = tmp_path / "qemu-system-aarch64"
        # It keeps the archive that it gets after -initrd.
        program.write_text(
            f'#!/bin/sh\nwhile [ "$1" != -initrd ]; do shift; done\n'
            f'cp "$2" {tmp_path}/initrd\ncat {tmp_path}/console\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        return guest

    return make


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"a model")
    return path


def names(archive):
    """Returns the names in a cpio archive, with their contents' lengths."""
    found, place = {}, 0
    while place < len(archive):
        assert archive[place : place + 6] == b"070701"
        fields = [int(archive[place + 6 + 8 * i : place + 14 + 8 * i], 16) for i in range(13)]
        length, name_length = fields[6], fields[11]
        name = archive[place + 110 : place + 110 + name_length - 1].decode()
        found[name] = length
        place = -(-(place + 110 + name_length) // 4) * 4
        place = -(-(place + length) // 4) * 4
    return found


def test_nanoseconds_are_instructions(fake, model, tmp_path):
    guest = fake(f"{COUNTS}REPLY {json.dumps(REPLY)}\r\n")
    found = instructions(guest, [model, model], "cortex-a76", 2)
    # The first inference does not count; of two, the lower one.
    assert found["counts"] == [250_000, 500_000]
    assert found["spread"] == pytest.approx(0.008)
    assert found["loop"] == pytest.approx(2, abs=1e-3)
    archive = names((tmp_path / "initrd").read_bytes())
    assert archive["bin/tool"] == len("a tool") and archive["bin/link"] == len("tool")
    assert archive["work/1.tflite"] == len("a model") and list(archive)[-1] == "TRAILER!!!"


@pytest.mark.parametrize(
    ("console", "message"),
    [
        ("Kernel panic\r\n", "did not come up: Kernel panic"),
        (COUNTS.replace("32001700", "48001700"), "does not count instructions: 3.067 for a loop"),
        (f'{COUNTS}REPLY {{"error": "no LiteRT"}}\r\n', "failed on the virtual cpu: no LiteRT"),
        (f"{COUNTS}killed\r\n", "failed on the virtual cpu: .* / killed"),
    ],
)
def test_what_failed_is_said(fake, model, console, message):
    with pytest.raises(UserError, match=message):
        instructions(fake(console), [model], "cpu", 1)


def test_a_missing_guest_names_the_remedy(model, tmp_path):
    with pytest.raises(UserError, match=r"is missing; tools/arm_guest\.sh"):
        instructions(tmp_path, [model], "cortex-a76", 1)


@pytest.mark.slow
def test_instructions_are_the_same_again(files):
    if not (GUEST / "vmlinuz").is_file():
        pytest.skip("needs build/arm-guest: make bench-arm")
    first, second = (instructions(GUEST, files, "cortex-a76", 5) for _ in range(2))
    assert first["counts"] == pytest.approx(second["counts"], rel=0.002)
    assert first["spread"] < 0.05
