import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from converters.source_digest import ROOT, source_files

# What is imported from these decides a file's content.
_FOLDERS = ("converters", "keras_shufflenet")
# Checkpoints give a network weights, and these networks have random ones.
_WITHOUT = ("keras_shufflenet/checkpoints", "converters/source_digest.py")


def source_of(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    found = [one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()]
    return found[0] if found else None


def imports(path: Path) -> Iterator[str]:
    """Yields the modules that a source imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def imported(modules: tuple[str, ...]) -> set[str]:
    """Returns the sources of modules and of all that they import, directly or not."""
    found: set[Path] = set()
    waiting = [source_of(module) for module in modules]
    while waiting:
        path = waiting.pop()
        if path is not None and path not in found:
            found.add(path)
            names = (name for name in imports(path) if name.split(".")[0] in _FOLDERS)
            waiting += map(source_of, names)
    sources = {path.relative_to(ROOT).as_posix() for path in found if path.name != "__init__.py"}
    return {source for source in sources if not source.startswith(_WITHOUT)}


@pytest.mark.parametrize(
    ("graph", "modules", "one"),
    [
        (
            "canonical",
            ("converters.conversion.canonical", "converters.random_weights"),
            "converters/conversion/ends.py",
        ),
        ("deployment", ("converters.conversion_cache",), "converters/graph/rules/large.py"),
    ],
)
def test_every_source_that_a_conversion_imports_is_hashed(graph, modules, one):
    hashed = {path.relative_to(ROOT).as_posix() for path in source_files(graph)}
    found = imported(modules)
    assert one in found
    assert found - hashed == set()
