"""Runs the commands of the README and the docs and pastes their output: `make readme`.

A block of output follows a comment that names its command:

    <!-- run: shufflenet complexity --model=shufflenet_v2 -->
    ```
    … replaced by what the command prints …
    ```

Of a training's progress only the first and the last line are kept.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- run: (?P<command>.+?) -->\n```\w*\n)(?P<output>.*?)(```\n)", re.DOTALL)
PROGRESS = re.compile(r"(?:(?:step \d+|training): .*\n){4,}")
THIS_PYTHON = {
    "python": [sys.executable],
    # The module instead of the script: the package need not be installed.
    "shufflenet": [sys.executable, "-m", "common.commands"],
}


def pages() -> list[Path]:
    """Returns the pages that show output, in the order in which their commands run."""
    every = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    return [page for page in every if commands(page.read_text(encoding="utf-8"))]


def commands(text: str) -> list[str]:
    """Returns the commands whose output the text shows, in order."""
    return [match["command"] for match in BLOCK.finditer(text)]


def words(command: str) -> list[str]:
    """Returns the words of a page's command, to run with this Python."""
    first, *rest = shlex.split(command)
    return [*THIS_PYTHON.get(first, [first]), *rest]


def shortened(output: str) -> str:
    """Returns output without the middle of a training's progress."""

    def first_and_last(found: re.Match) -> str:
        lines = found[0].splitlines(keepends=True)
        return f"{lines[0]}…\n{lines[-1]}"

    return PROGRESS.sub(first_and_last, output)


def run(command: str) -> str:
    """Runs one command at the project's root with this Python and returns what it prints."""
    print("$", command, flush=True)
    # Otherwise a make that is started by make reports which folder it enters.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        words(command), cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"error: {command!r} failed:\n{done.stderr}")
    return shortened(done.stdout.strip() + "\n")


def main() -> None:
    """Replaces every block of output, page by page."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        text = BLOCK.sub(lambda m: m[1] + run(m["command"]) + m[4], text)
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
