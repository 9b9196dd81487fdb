"""Makes the virtual environment of `make demo` and `make test` from requirements.lock.

Run it with the Python that the environment shall have: `python3.13 tools/make_venv.py .venv`. It
does nothing if the environment was made by the same Python from the same lock. The syntax stays
old, so that an old Python gets as far as the message that it is too old.
"""

from __future__ import print_function

import hashlib
import os
import shutil
import subprocess
import sys

OLDEST, NEWEST = (3, 10), (3, 13)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOCK = os.path.join(ROOT, "requirements.lock")


def check_python():
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    sys.exit(
        "error: {} is Python {}.{}; Python 3.10 to 3.13 is needed: "
        "make demo PYTHON=python3.11".format(sys.executable, *sys.version_info[:2])
    )


def fingerprint():
    """Returns what an environment is made from; if that changes, it is made again."""
    digest = hashlib.sha256(sys.version.encode())
    for name in ("requirements.lock", "setup.py"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def install(folder):
    python = os.path.join(folder, "bin", "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # --use-pep517: otherwise old pips warn about packages that have only a setup.py.
    pip.append("--use-pep517")
    with open(LOCK) as file:
        packages = sum("==" in line for line in file)
    print(
        "Installing {} pinned packages into {} (a minute or two, 2.5 GB) ...".format(
            packages, os.path.relpath(folder)
        )
    )
    sys.stdout.flush()
    subprocess.check_call(pip + ["--requirement", LOCK])
    # The lock has setuptools, so no second copy is downloaded for the build.
    subprocess.check_call(pip + ["--no-deps", "--no-build-isolation", "--editable", ROOT])


def check_folder(folder, stamp):
    """Exits if the folder exists and was not made by this script, so that it is not removed."""
    if os.path.exists(folder) and not os.path.exists(stamp):
        sys.exit(
            "error: {} exists and was not made by make; "
            "remove it, or choose another: make demo VENV=...".format(folder)
        )


def write_stamp(stamp, text):
    with open(stamp, "w") as file:
        file.write(text)


def make(folder):
    stamp = os.path.join(folder, ".made-from")
    check_folder(folder, stamp)
    if os.path.exists(stamp):
        with open(stamp) as file:
            if file.read() == fingerprint():
                return
    print("Making {} with Python {}.{}.{}".format(os.path.relpath(folder), *sys.version_info[:3]))
    sys.stdout.flush()
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    write_stamp(stamp, "unfinished")
    made = subprocess.call([sys.executable, "-m", "venv", folder])
    if made != 0:
        sys.exit(
            "error: the venv module of {} fails; on Debian: apt install python3-venv".format(
                sys.executable
            )
        )
    try:
        install(folder)
    except subprocess.CalledProcessError as error:
        sys.exit("error: {!r} failed; see its message above".format(" ".join(error.cmd)))
    write_stamp(stamp, fingerprint())


if __name__ == "__main__":
    check_python()
    make(os.path.abspath(sys.argv[1]))
