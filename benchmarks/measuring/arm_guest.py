"""A virtual ARM machine whose clock counts executed instructions: 1 ns is one instruction.

`qemu-system-aarch64 -icount shift=0` advances the guest's clock by 1 ns for each instruction. The
guest is Debian's kernel with Python and LiteRT in its memory, made by tools/arm_guest.sh; it has no
disk and no network. It runs the same program as a board that ssh reaches (edge/running/runner.py).
"""

import json
import re
import shutil
import stat
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from common.cli import UserError
from edge.running import runner

_QEMU = "qemu-system-aarch64"
_SECONDS = 3600
# subs x0, x0, #1; b.ne to it; ret: two instructions for each pass of the loop.
_LOOP = """
import ctypes, mmap, struct, time
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(struct.pack("<3I", 0xF1000400, 0x54FFFFE1, 0xD65F03C0))
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
loop = ctypes.CFUNCTYPE(None, ctypes.c_uint64)(address)
loop(1)
for passes in (1_000_000, 4_000_000, 16_000_000):
    start = time.perf_counter_ns()
    loop(passes)
    print("LOOP", passes, time.perf_counter_ns() - start)
"""
_PASSES_OFF = 0.005
_INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/site
python=$(echo /usr/bin/python3.*[0-9])
$python -S -E /work/loop.py
$python -S /work/runner.py </work/request.json >/tmp/reply 2>/tmp/log || /bin/busybox cat /tmp/log
echo "REPLY $(/bin/busybox cat /tmp/reply)"
/bin/busybox poweroff -f
"""


def instructions(guest: Path, files: Sequence[Path], cpu: str, runs: int) -> dict:
    """Returns how many instructions an inference of each file executes, on one thread.

    Args:
      guest: the folder that tools/arm_guest.sh made.
      files: `.tflite` files; they take turns.
      cpu: a CPU of qemu, such as "cortex-a76".
      runs: inferences of each file; the first one, which touches its memory first, does not count.

    Returns:
      `counts`, the median for each file; `spread`, the largest difference of two inferences of a
      file as a share; `loop`, instructions counted for each pass of a loop of two; `machine`, the
      guest's.

    Raises:
      UserError: qemu or the guest is missing, its clock does not count, or LiteRT failed in it.
    """
    if shutil.which(_QEMU) is None or not (guest / "vmlinuz").is_file():
        raise UserError(f"{_QEMU} or {guest}/vmlinuz is missing; tools/arm_guest.sh {guest}")
    request = {
        "task": "together",
        "files": [{"path": f"/work/{index}.tflite"} for index, _ in enumerate(files)],
        "threads": 1,
        "library": None,
        "cores": [],
        "warmup": 0,
        "runs": runs + 1,
    }
    content = {
        "init": _INIT.encode(),
        "work/loop.py": _LOOP.encode(),
        "work/runner.py": Path(runner.__file__).read_bytes(),
        "work/request.json": f"{json.dumps(request)}\n".encode(),
        **{f"work/{index}.tflite": path.read_bytes() for index, path in enumerate(files)},
    }
    console = _boot(guest, content, cpu)
    loop = _loop_instructions(console)
    reply = _reply(console, cpu)
    counts = [[round(one * 1e6) for one in times[1:]] for times in reply["milliseconds"]]
    return {
        "counts": [statistics.median_low(one) for one in counts],
        "spread": max(max(one) / min(one) - 1 for one in counts),
        "loop": loop,
        "machine": reply["machine"],
    }


def _boot(guest: Path, content: Mapping[str, bytes], cpu: str) -> str:
    """Returns what the guest printed until it switched itself off."""
    with tempfile.TemporaryDirectory(dir=guest) as folder:
        archive = Path(folder) / "initrd.cpio"
        with archive.open("wb") as file:
            for part in _archive(guest / "root", content):
                file.write(part)
        command = [
            *(_QEMU, "-M", "virt", "-cpu", cpu, "-smp", "1", "-m", "2048"),
            *("-icount", "shift=0,sleep=off", "-nographic", "-no-reboot", "-net", "none"),
            *("-kernel", str(guest / "vmlinuz"), "-initrd", str(archive)),
            *("-append", "console=ttyAMA0 rdinit=/init quiet"),
        ]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(f"the virtual {cpu} did not end within {_SECONDS} seconds") from error
    return done.stdout.decode(errors="replace").replace("\r\n", "\n")


def _loop_instructions(console: str) -> float:
    """Returns the instructions for each pass of the loop, which must be two."""
    counted = [(int(n), int(ns)) for n, ns in re.findall(r"^LOOP (\d+) (\d+)$", console, re.M)]
    if not counted:
        raise UserError(f"the virtual machine did not come up: {_end(console)}")
    # The difference of two lengths: what starts and ends the loop is in both.
    (passes, ns), (most_passes, most_ns) = counted[0], counted[-1]
    found = (most_ns - ns) / (most_passes - passes)
    if abs(found / 2 - 1) > _PASSES_OFF:
        raise UserError(
            f"this qemu's clock does not count instructions: {found:.3f} for a loop of 2"
        )
    return found


def _reply(console: str, cpu: str) -> dict:
    found = re.search(r"^REPLY (\{.*\})$", console, re.M)
    reply = json.loads(found[1]) if found else {"error": _end(console)}
    if "error" in reply:
        raise UserError(f"LiteRT failed on the virtual {cpu}: {reply['error']}")
    return reply


def _end(console: str) -> str:
    return " / ".join(console.strip().splitlines()[-3:])[-400:] or "it printed nothing"


def _archive(root: Path, content: Mapping[str, bytes]) -> Iterator[bytes]:
    """Yields a cpio archive, as Linux unpacks it at its start, of a folder and some more files."""
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            data = str(path.readlink()).encode()
        else:
            data = path.read_bytes() if stat.S_ISREG(mode) else b""
        yield _entry(str(path.relative_to(root)), mode, data)
    for name in ("dev", "proc", "sys", "tmp", "work"):
        yield _entry(name, stat.S_IFDIR | 0o755, b"")
    for name, data in content.items():
        yield _entry(name, stat.S_IFREG | 0o755, data)
    yield _entry("TRAILER!!!", 0, b"")


def _entry(name: str, mode: int, data: bytes) -> bytes:
    """Returns a file of an archive in cpio's "new ASCII" format, owned by root."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = ("070701" + "".join(f"{field:08X}" for field in fields)).encode() + name.encode() + b"\0"
    return b"".join(part + bytes(-len(part) % 4) for part in (head, data))
