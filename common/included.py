"""The artifacts that travel with the package, so that a command has something to show at once.

Each is a folder in `common/artifacts`, made by this project's own commands, with a README.md that
is its model card. Package data: they are there after `pip install`, too.
"""

from pathlib import Path

from common.cli import UserError

CLASSIFIER, DETECTOR = "cifar10", "bccd"
_FOLDER = Path(__file__).with_name("artifacts")


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
      named: a folder, or else the name of an artifact that travels with the package; None for the
        classifier among them.

    Examples:
      >>> find_artifact("bccd").parent.name
      'artifacts'
    """
    if not named or (named in (CLASSIFIER, DETECTOR) and not Path(named).exists()):
        return included_artifact(named or CLASSIFIER)
    return Path(named)


def example_note(flag: str) -> str:
    """Returns a line that says which artifact is used because a flag is missing."""
    return (
        f"an example that travels with the package, {CLASSIFIER}; {flag}={DETECTOR} is another, a "
        f"detector; name your own with {flag}"
    )
