"""The artifacts that travel with the package, so that a command has something to show at once.

Each is a folder in `common/artifacts`, made by this project's own commands, with a README.md that
is its model card. Package data: they are there after `pip install`, too.
"""

from pathlib import Path

from common.cli import UserError
from common.manifest import MANIFEST

CLASSIFIER, DETECTOR = "cifar10", "bccd"
_FOLDER = Path(__file__).with_name("artifacts")
# What an artifact or a training has. A folder of images called as one of ours does not hide it.
_MARKS = (MANIFEST, "config.json")


def included_artifact(name: str = CLASSIFIER) -> Path:
    """Returns the folder of an artifact that travels with the package.

    Raises:
      UserError: there is none of this name; the message lists those that there are.

    Examples:
      >>> included_artifact().name
      'cifar10'
    """
    names = sorted(path.name for path in _FOLDER.iterdir() if path.is_dir())
    if name not in names:
        raise UserError(f"no artifact {name!r} travels with the package; {', '.join(names)} do")
    return _FOLDER / name


def find_artifact(named: str | None) -> Path:
    """Returns the folder that a flag names, or an artifact that travels with the package.

    Args:
      named: an artifact or a training's folder, or else the name of an artifact that travels with
        the package; None for the classifier among them.

    Examples:
      >>> find_artifact("bccd").parent.name
      'artifacts'
    """
    if not named:
        return included_artifact()
    is_users = any((Path(named) / mark).exists() for mark in _MARKS)
    if named in (CLASSIFIER, DETECTOR) and not is_users:
        return included_artifact(named)
    return Path(named)


def example_note(flag: str) -> str:
    """Returns a line that says which artifact is used because a flag is missing."""
    return (
        f"an example that travels with the package, {CLASSIFIER}; {flag}={DETECTOR} is another, a "
        f"detector; name your own with {flag}"
    )
