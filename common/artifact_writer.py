"""Writes an artifact, whole or not at all."""

import contextlib
import errno
import itertools
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from common.artifact import Artifact
from common.cli import UserError
from common.files import naming_when_full, stored_file, write_json
from common.manifest import (
    LABELS,
    MANIFEST,
    SAMPLES,
    SCHEMA_VERSION,
    check_manifest,
    entries_of,
    read_manifest,
)
from common.storage.exchange import exchange
from common.storage.temporary import held, temporary_folder
from common.tflite.litert import LiteRTNetwork, Tensor
from common.tflite.operators import operator_counts


class OutputTakenError(UserError):
    """The output appeared or changed while it was made; `kept` is where the finished folder is."""

    def __init__(self, output: Path, kept: Path):
        self.kept = kept
        super().__init__(
            f"output {output} appeared or changed while this command ran, so it is not replaced; "
            f"the finished folder is {kept}"
        )


@contextlib.contextmanager
def staged_folder(output: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yields a temporary folder next to `output` that becomes `output` on success.

    After an error the temporary folder is removed and `output` is as it was before; after a kill
    the next run removes it.

    Args:
      output: the folder to make; must not exist yet, or be empty.
      overwrite: replace `output` if it is an artifact and nothing else.

    Raises:
      OutputTakenError: `output` appeared or changed while the block ran.
      UserError: `output` is a file, or a folder that may not be replaced.
      OSError: the folder cannot be written.
    """
    output = output.resolve()
    _check_output(output, overwrite)
    before = _identity(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with naming_when_full(output), temporary_folder(output) as temporary:
        yield temporary
        _publish(temporary, output, before)


@contextlib.contextmanager
def updated_artifact(folder: Path) -> Iterator[Path]:
    """Yields a copy of an artifact, with all that lies in its folder, that replaces it on success.

    Raises:
      OutputTakenError: the artifact changed while the block ran.
    """
    # Resolved, so that a link to an artifact stays a link.
    folder = folder.resolve()
    before = _identity(folder)
    with naming_when_full(folder), temporary_folder(folder) as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        yield copy
        _publish(copy, folder, before)


def write_labels(folder: Path, labels: list[str]) -> dict:
    """Writes labels.txt and returns its entry for the manifest."""
    (folder / LABELS).write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    return stored_file(folder / LABELS)


def write_samples(folder: Path, arrays: Mapping[str, np.ndarray]) -> dict | None:
    """Writes samples.npz and returns its entry for the manifest; None if there are no samples.

    Args:
      folder: the artifact's folder.
      arrays: by name, each [n, ...]; docs/artifact.md says which there are.
    """
    count = len(next(iter(arrays.values())))
    if not count:
        return None
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    np.savez_compressed(folder / SAMPLES, **arrays)
    described = {
        name: {"shape": list(array.shape[1:]), "dtype": array.dtype.name}
        for name, array in arrays.items()
    }
    return {**stored_file(folder / SAMPLES), "images": count, "arrays": described}


def describe_tflite(path: Path) -> dict:
    """Returns a .tflite file's entry for the manifest: hash, size, inputs, outputs, operators."""
    network = LiteRTNetwork(path)
    return {
        **stored_file(path),
        "inputs": [_describe_tensor(tensor) for tensor in network.inputs],
        "outputs": [_describe_tensor(tensor) for tensor in network.outputs],
        "operators": operator_counts(path),
    }


def _describe_tensor(tensor: Tensor) -> dict:
    scale, zero_point = tensor.quantization or (None, None)
    return {
        "shape": list(tensor.shape),
        "dtype": tensor.dtype.name,
        "scale": scale,
        "zero_point": zero_point,
    }


def write_manifest(folder: Path, fields: dict) -> None:
    """Writes manifest.json, then checks the artifact by opening it as a reader would.

    Args:
      folder: the artifact's folder; its other files are already there.
      fields: the manifest without its schema version (docs/artifact.md).

    Raises:
      UserError: the fields or the files do not follow the schema.
    """
    manifest = {"schema_version": SCHEMA_VERSION, **fields}
    check_manifest(manifest, folder / MANIFEST)
    write_json(folder / MANIFEST, manifest)
    Artifact.open(folder)


def _check_output(output: Path, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"output {output} is a file; name a new folder")
    if not output.is_dir() or not any(output.iterdir()):
        return
    if not (output / MANIFEST).is_file():
        raise UserError(
            f"output {output} is not empty and not an artifact, so it is not replaced; name a new "
            "folder"
        )
    if not overwrite:
        raise UserError(
            f"output {output} is an artifact already; name a new folder or add --overwrite"
        )
    if foreign := _foreign(output):
        raise UserError(
            f"output {output} also holds {_some(foreign)}, which --overwrite would remove; move "
            "that away or name a new folder"
        )


def _foreign(folder: Path) -> list[str]:
    """Returns the names of what lies in an artifact's folder and is no part of the artifact."""
    try:
        own = entries_of(read_manifest(folder))
    except UserError:
        # Of another version, or damaged: what every artifact has.
        own = {path.name for path in folder.iterdir() if path.suffix == ".tflite"}
    return sorted({path.name for path in folder.iterdir()} - own - {MANIFEST, LABELS, SAMPLES})


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _identity(output: Path) -> tuple[int, ...] | None:
    """Returns what differs between two artifacts, or versions of one; None where there is none."""
    try:
        status, manifest = output.stat(), (output / MANIFEST).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, manifest.st_ino, manifest.st_mtime_ns


def _publish(finished: Path, output: Path, before: tuple[int, ...] | None) -> None:
    """Gives the finished folder its name; what it replaces is removed last."""
    try:
        # The system refuses it in one step if there is a folder with something in it.
        finished.rename(output)
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
    if before is None or _identity(output) != before:
        raise _taken(finished, output)
    with held(output):
        exchange(finished, output)
        # Looked at again: both steps before had a time between them.
        lost = set(_foreign(finished)) - {path.name for path in output.iterdir()}
        if _identity(finished) != before or lost:
            exchange(finished, output)
            raise _taken(finished, output)
        shutil.rmtree(finished, ignore_errors=True)


def _taken(finished: Path, output: Path) -> OutputTakenError:
    names = (output.with_name(f"{output.name}-{number}") for number in itertools.count(2))
    kept = next(path for path in names if not path.exists())
    finished.rename(kept)
    return OutputTakenError(output, kept)
