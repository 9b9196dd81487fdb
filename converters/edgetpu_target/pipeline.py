"""Checks, compiles and compares a file for the Edge TPU, and describes it for the manifest."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from common.cli import UserError
from common.files import stored_file
from converters.edgetpu_target.check import Prediction, differences, predict
from converters.edgetpu_target.compiler import (
    GET_IT,
    CompiledModel,
    Compiler,
    EdgeTpuSettings,
    find_compiler,
)
from converters.edgetpu_target.parameters import read_compiled

SUFFIX = "_edgetpu.tflite"
_COMPILE_LATER = "then run shufflenet edgetpu --artifact=FOLDER"


def required_compiler(settings: EdgeTpuSettings) -> Compiler | None:
    """Finds the compiler, before minutes of work that needs it.

    Raises:
      UserError: the named compiler does not exist, or --require_full_mapping is set without one.
    """
    compiler = find_compiler(settings)
    if compiler is None and settings.require_full_mapping:
        raise UserError(f"--require_full_mapping needs a compiler: {GET_IT}")
    return compiler


def describe(path: Path, compiler: Compiler | None) -> dict:
    """Checks a file and compiles it; if the compiler rejects it, that is reported, not raised.

    Args:
      path: an int8 .tflite file; `NAME_edgetpu.tflite` is written next to it.
      compiler: as `required_compiler` returns it; None only checks.

    Returns:
      The file's field `edgetpu` in the manifest (docs/artifact.md).
    """
    if compiler is None:
        return describe_check(path)
    try:
        (entry,) = describe_together([path], [path.parent], compiler)
    except UserError as error:
        return _entry(predict(path), "failed", message=str(error), version=compiler.version)
    return entry


def describe_check(path: Path) -> dict:
    """Returns a file's field `edgetpu` if there is no compiler."""
    return _entry(predict(path), "not compiled", message=f"{GET_IT}; {_COMPILE_LATER}")


def describe_together(
    paths: Sequence[Path], folders: Sequence[Path], compiler: Compiler
) -> list[dict]:
    """Checks files and compiles them in one run, so that they share the chip's memory.

    Args:
      paths: int8 .tflite files; the first ones get on-chip memory first.
      folders: where each compiled file is written, as `NAME_edgetpu.tflite`.

    Returns:
      The field `edgetpu` in the manifest for each file.

    Raises:
      UserError: the compiler rejects them, or takes too long.
    """
    predictions = [predict(path) for path in paths]
    with compiler.compile(paths) as models:
        return [
            _compiled(path, folder, prediction, model, compiler, len(paths))
            for path, folder, prediction, model in zip(
                paths, folders, predictions, models, strict=True
            )
        ]


def check_full_mapping(name: str, entry: dict) -> None:
    """Raises UserError with the operators' names unless the compiler maps all of them."""
    log = entry["log"]
    if entry["status"] != "compiled":
        raise UserError(f"--require_full_mapping: {name} is not compiled: {entry['message']}")
    if log["on_cpu"] == 0:
        return
    left = [row for row in log["operators"] if not row["mapped"]]
    rows = ", ".join(f"{row['count']} {row['name']} ({row['status']})" for row in left)
    raise UserError(
        f"--require_full_mapping: {log['on_cpu']} of {log['total']} operators of {name} do not map "
        f"to the Edge TPU: {rows}; convert with --graph=deployment --target=edgetpu"
    )


def summary(entry: dict) -> str:
    """Returns one line about a file for the terminal.

    Args:
      entry: the file's field `edgetpu` in the manifest.
    """
    prediction, log = entry["prediction"], entry["log"]
    text = f"{prediction['mapped']} of {prediction['operators']} operators predicted to map"
    if prediction["certain"] < prediction["mapped"]:
        text += f" ({prediction['certain']} if the doubtful ones do not)"
    if entry["status"] == "failed":
        return f"{text}; failed: {entry['message']}"
    if log is None:
        return f"{text}; {entry['status']}"
    text += f", {log['mapped']} of {log['total']} map in {log['subgraphs']} parts"
    # Exact, where the file could be read; the compiler rounds.
    streamed = entry["compiled"].get("streamed_bytes", log["streamed_bytes"])
    if streamed:
        text += f", {streamed:,} bytes of weights streamed at every inference"
    if entry["differences"]:
        text += f"; different from the prediction: {'; '.join(entry['differences'])}"
    return text


def advice(entries: Iterable[dict]) -> str | None:
    """Returns how to get a compiler if one was missing, for the terminal.

    Args:
      entries: fields `edgetpu` of manifests.
    """
    missed = (entry["message"] for entry in entries if entry["status"] == "not compiled")
    return next(missed, None)


def _compiled(
    path: Path,
    folder: Path,
    prediction: Prediction,
    model: CompiledModel,
    compiler: Compiler,
    together: int,
) -> dict:
    target = folder / (path.stem + SUFFIX)
    shutil.copyfile(model.path, target)
    parameters = read_compiled(target)
    rows = [{**asdict(row), "mapped": row.mapped} for row in model.log.operators]
    return _entry(
        prediction,
        "compiled",
        version=compiler.version,
        log={**asdict(model.log), "operators": rows, "models_compiled_together": together},
        differences=differences(prediction, model.log) if rows else None,
        compiled={
            **{"name": target.name, **stored_file(target)},
            **(parameters._asdict() if parameters else {}),
        },
    )


def _entry(
    prediction: Prediction,
    status: str,
    message: str | None = None,
    version: str | None = None,
    log: dict | None = None,
    differences: list[str] | None = None,
    compiled: dict | None = None,
) -> dict:
    return {
        "status": status,
        "message": message,
        "compiler": version,
        "prediction": prediction.as_json(),
        "log": log,
        "differences": differences,
        "compiled": compiled,
    }
