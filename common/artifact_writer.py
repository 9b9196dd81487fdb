"""Writes an artifact, whole or not at all."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.artifact import Artifact
from common.cli import UserError
from common.files import apply_umask, stored_file, write_json
from common.manifest import LABELS, MANIFEST, SAMPLES, SCHEMA_VERSION, check_manifest
from common.tflite.litert import LiteRTModel
from common.tflite.operators import operator_counts


@contextlib.contextmanager
def staged_folder(output: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yields a temporary folder next to `output`, renamed to `output` on success.

    After an error the temporary folder is removed and `output` is as it was before.

    Args:
      output: the folder to make; must not exist yet, or be empty.
      overwrite: replace `output` if it is an artifact.

    Raises:
      UserError: `output` is a file, or a folder that may not be replaced.
      OSError: the folder cannot be written.
    """
    _check_output(output, overwrite)
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    apply_umask(temporary, 0o777)
    try:
        yield temporary
        _replace(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_labels(folder: Path, labels: list[str]) -> dict:
    """Writes labels.txt and returns its entry for the manifest."""
    (folder / LABELS).write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    return stored_file(folder / LABELS)


def write_samples(folder: Path, images: np.ndarray, labels: np.ndarray) -> dict | None:
    """Writes samples.npz and returns its entry for the manifest; None if there are no images.

    Args:
      folder: the artifact's folder.
      images: uint8 [n, height, width, channels].
      labels: int32 [n].
    """
    if not len(images):
        return None
    images, labels = np.ascontiguousarray(images, np.uint8), labels.astype(np.int32)
    np.savez_compressed(folder / SAMPLES, images=images, labels=labels)
    return {**stored_file(folder / SAMPLES), "images": len(images)}


def describe_tflite(path: Path) -> dict:
    """Returns a .tflite file's entry for the manifest: hash, size, input, output, operators."""
    model = LiteRTModel(path)
    return {
        **stored_file(path),
        "input": _describe_tensor(model.input_shape, model.input_dtype, model.input_quantization),
        "output": _describe_tensor(
            model.output_shape, model.output_dtype, model.output_quantization
        ),
        "operators": operator_counts(path),
    }


def _describe_tensor(
    shape: tuple[int, ...], dtype: np.dtype, quantization: tuple[float, int] | None
) -> dict:
    scale, zero_point = quantization or (None, None)
    return {"shape": list(shape), "dtype": dtype.name, "scale": scale, "zero_point": zero_point}


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
    if not overwrite:
        raise UserError(
            f"output {output} exists and is not empty; name a new folder or add --overwrite"
        )
    if not (output / MANIFEST).is_file():
        raise UserError(
            f"output {output} is not an artifact, so it is not replaced; name a new folder"
        )


def _replace(temporary: Path, output: Path) -> None:
    if output.is_dir() and any(output.iterdir()):
        # Move it aside first: a folder cannot be renamed onto one that is not empty.
        old = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}.old."))
        output.replace(old)
        temporary.replace(output)
        shutil.rmtree(old)
    else:
        temporary.replace(output)
