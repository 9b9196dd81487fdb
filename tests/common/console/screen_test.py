"""Work goes on when nobody reads, on ASCII terminals, and ends in one line without memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.cli import UserError, check_bounds

ROOT = Path(__file__).resolve().parents[2]
COMMAND = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from common import cli
from common.console.progress import Progress
def main():
    {body}
cli.run(main)
"""


def command(body):
    return [sys.executable, "-c", COMMAND.format(root=str(ROOT), body=body)]


def run(body, *arguments, **environment):
    return subprocess.run(
        [*command(body), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_a_reader_that_goes_does_not_end_the_work(tmp_path):
    body = f"""
    progress = Progress("training", 10)
    for step in range(20000):
        print("step", step, flush=step % 100 == 0)
        print("warning", step, file=sys.stderr)
    progress.say("almost")
    Path({str(tmp_path / "checkpoint")!r}).write_text("saved")
    print("done")
    """
    process = subprocess.Popen(
        command(body.strip()), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "step 0\n"
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "checkpoint").read_text() == "saved"


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]
)
def test_an_ascii_terminal_gets_escapes(environment):
    body = r"""print("ch\u00e2teau \ud800"); raise cli.UserError("\u00e9t\u00e9 is missing")"""
    done = run(body, **{"PYTHONCOERCECLOCALE": "0", **environment})
    assert (done.returncode, done.stderr) == (1, b"error: \\xe9t\\xe9 is missing\n")
    assert done.stdout == b"ch\\xe2teau \\ud800\n"


def test_a_name_that_is_not_utf8_is_one_line():
    done = subprocess.run(
        [*command("pass"), b"--workdir=/tmp/caf\xe9"], capture_output=True, check=False
    )
    # The parser of flags is asked first, so the name is an argument of its own here.
    assert b"Traceback" not in done.stderr and done.returncode == 1
    done = subprocess.run([*command("pass"), b"caf\xe9"], capture_output=True, check=False)
    assert done.stderr.startswith(b"error: ") and done.stderr.count(b"\n") == 1
    done = run(r"""Path("/tmp/caf\udce9").write_text("\udce9", encoding="utf-8")""")
    assert b"is not UTF-8 text, which all files of a run need; rename it" in done.stderr


def test_a_utf8_name_in_an_ascii_terminal_says_how_to_read_it():
    # As Python reads the bytes of "café" there.
    done = run(r"""print("caf\udcc3\udca9".encode())""", LC_ALL="C", PYTHONUTF8="0")
    assert done.returncode == 1
    assert done.stderr == (
        b"error: 'caf\\xe9' cannot be read with LC_ALL=C; set LC_ALL=C.UTF-8 or PYTHONUTF8=1\n"
    )


def test_too_little_memory_is_one_line():
    body = """
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
    bytearray(2**33)
    """
    done = run(body.strip())
    assert done.returncode == 1
    assert done.stderr == (
        b"error: there is not enough memory (MemoryError); close other programs, raise "
        b"`ulimit -v`, or use smaller batches and images\n"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (100_000, "--threads must be at most 256; received 100000"),
        (0, "--threads must be at least 1; received 0"),
        (float("nan"), "--threads must be at least 1; received nan"),
        (float("inf"), "--threads must be at most 256; received inf"),
    ],
)
def test_a_number_out_of_bounds_names_its_flag(value, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        check_bounds("threads", value, 1, 256)
