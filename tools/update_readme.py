"""Runs the README's commands and pastes their output into it: `make readme`.

A block of output follows a comment that names its command:

    <!-- run: python -m keras_shufflenet.complexity --model=shufflenet_v2 -->
    ```
    … replaced by what the command prints …
    ```
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- run: (?P<command>.+?) -->\n```\w*\n)(?P<output>.*?)(```\n)", re.DOTALL)


def commands(text: str) -> list[str]:
    """Returns the commands whose output the text shows, in order."""
    return [match["command"] for match in BLOCK.finditer(text)]


def run(command: str) -> str:
    """Runs one command at the project's root with this Python and returns what it prints."""
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    print("$", command, flush=True)
    # Started by make, a make would tell which folder it enters.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {command!r} failed:\n{done.stderr}")
    return done.stdout.strip() + "\n"


def main() -> None:
    """Replaces every block of output in the README."""
    text = README.read_text(encoding="utf-8")
    text = BLOCK.sub(lambda m: m[1] + run(m["command"]) + m[4], text)
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
