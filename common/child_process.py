"""Runs Python modules in separate processes."""

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
# `python -m` would look into the current folder first, where a user may have a `trainers/`.
_RUN = (
    "import runpy, sys; sys.path[0] = sys.argv[1]; del sys.argv[:2]; "
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


def module_command(module: str, *arguments: str) -> list[str]:
    """Returns the command line that runs a module, whatever is in the current folder.

    Args:
      module: its dotted name.
      *arguments: the module's command-line arguments.

    Examples:
      >>> subprocess.run(module_command("trainers.train", "--recipe=digits", "--workdir=work"))
    """
    return [sys.executable, "-c", _RUN, str(_ROOT), module, *arguments]


def module_environment() -> dict[str, str]:
    """Returns an environment in which a module finds the same packages as this process."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
