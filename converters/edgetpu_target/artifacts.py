"""Compiles files of existing artifacts for the Edge TPU, several artifacts in one run."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from common.artifact import Artifact
from common.artifact_writer import updated_artifact, write_manifest
from common.cli import UserError
from converters.edgetpu_target.compiler import Compiler, EdgeTpuSettings
from converters.edgetpu_target.pipeline import (
    check_full_mapping,
    describe_check,
    describe_together,
    required_compiler,
)
from converters.options import INTEGER


def compile_artifacts(
    folders: Sequence[Path], file: str | None, settings: EdgeTpuSettings
) -> dict[str, dict]:
    """Checks one file of each artifact, compiles them together and adds the results.

    Models that are compiled together share the chip's memory, so that a program can switch between
    them without loading weights again; the first ones get memory first. Each artifact is replaced
    by one that also has the compiled file; after an error, all are as they were.

    Args:
      folders: artifacts, each only once.
      file: the file's name in each artifact; None for the only int8 file of the edgetpu target.
      settings: how to compile.

    Returns:
      The field `edgetpu` of each file in the manifest, by the file's path.

    Raises:
      UserError: an artifact or the compiler cannot be used, or the compiler rejects the files.

    Examples:
      >>> compile_artifacts([Path("digits"), Path("flowers")], None, EdgeTpuSettings())
    """
    if not folders or len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError("--artifact must name artifacts, each only once, separated by commas")
    artifacts = [Artifact.open(folder) for folder in folders]
    names = [_choose(artifact, file) for artifact in artifacts]
    compiler = required_compiler(settings)
    with contextlib.ExitStack() as stack:
        copies = [stack.enter_context(updated_artifact(artifact.folder)) for artifact in artifacts]
        entries = _describe(artifacts, names, copies, compiler)
        for artifact, name, copy, entry in zip(artifacts, names, copies, entries, strict=True):
            if settings.require_full_mapping:
                check_full_mapping(str(artifact.path(name)), entry)
            _update(artifact, name, copy, entry)
    return {
        str(artifact.path(name)): entry
        for artifact, name, entry in zip(artifacts, names, entries, strict=True)
    }


def _choose(artifact: Artifact, file: str | None) -> str:
    if file is not None:
        artifact.path(file)
        return file
    names = [
        name
        for name, entry in artifact.files.items()
        if entry["quantization"] in INTEGER and entry.get("target") == "edgetpu"
    ]
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise UserError(
            f"{artifact.folder} must have one int8 file made with --target=edgetpu, but it has "
            f"{found}; name one with --file, or convert the model again"
        )
    return names[0]


def _describe(
    artifacts: list[Artifact], names: list[str], copies: list[Path], compiler: Compiler | None
) -> list[dict]:
    paths = [artifact.path(name) for artifact, name in zip(artifacts, names, strict=True)]
    if compiler is None:
        return [describe_check(path) for path in paths]
    return describe_together(paths, copies, compiler)


def _update(artifact: Artifact, name: str, copy: Path, entry: dict) -> None:
    """Writes the copy's manifest with the new entry, and removes an older entry's file."""
    files = dict(artifact.manifest["files"])
    old = files[name].get("edgetpu", {}).get("compiled")
    if old is not None and entry["compiled"] is None:
        (copy / old["name"]).unlink()
    files[name] = {**files[name], "edgetpu": entry}
    write_manifest(copy, {**artifact.manifest, "files": files})
