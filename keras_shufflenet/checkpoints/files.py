"""Reads and writes tensors in `.pth`, `.safetensors` and `.npz` files, without running their code.

PyTorch and safetensors are imported only when a file needs them.
"""

import argparse
import functools
import importlib
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from keras_shufflenet.checkpoints.limits import DAMAGED, check_archive
from keras_shufflenet.checkpoints.temporary import temporary_beside

# Before 2.6, a malicious file could run code despite `weights_only` (CVE-2025-32434).
MINIMUM_TORCH = (2, 6)
# Keys under which training scripts save the state_dict, and its average over the steps (EMA).
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_AVERAGES = ("model_ema", "state_dict_ema", "ema", "ema_state_dict")
# The end of a path that asks for the average.
EMA = "#ema"
# What DataParallel, torch.compile and modules around the network put before every name.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
# PyTorch's AveragedModel counts its updates beside the weights.
_COUNTER = "n_averaged"
_REMEDY = "save the model's state_dict() alone"


def read_tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Returns the tensors of a checkpoint, in the file's order.

    A wrapper (`{"state_dict": …}`) is removed, and so are the prefixes "module.", "_orig_mod.",
    "model." and "net." that all names share. bfloat16 in a `.pth` file, which NumPy does not have,
    becomes float32. If a file holds a network and its average (`model_ema`), the network is read,
    with a message; "#ema" at the end of the path asks for the average.

    Args:
      path: a `.pth`, `.pt`, `.safetensors` or `.npz` file, with or without "#ema".

    Raises:
      FileNotFoundError: there is no such file.
      ImportError: the package that reads it is not installed; the message names it.
      ValueError: the file is damaged, would run code, contains something other than tensors, or
        has no average.

    Examples:
      >>> read_tensors("model.safetensors")["fc.weight"].shape
      (10, 1024)
    """
    file, average = file_of(path)
    reader = _by_suffix(file, _READERS)
    check_file(file)
    tensors = reader(file, average)
    if not tensors:
        raise ValueError(f"checkpoint {str(path)!r} holds no tensors; {_REMEDY}")
    return _without_prefixes(tensors)


def file_of(path: str | os.PathLike) -> tuple[Path, bool]:
    """Returns a checkpoint's file, and whether "#ema" after its name asks for the average."""
    name = str(path)
    return Path(name.removesuffix(EMA)), name.endswith(EMA)


def check_file(file: Path) -> None:
    """Raises FileNotFoundError unless there is such a file; a pipe would be waited for."""
    if not file.is_file():
        fault = "is not a plain file" if file.exists() else "does not exist"
        raise FileNotFoundError(f"checkpoint {str(file)!r} {fault}; check the path")


def _without_prefixes(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Removes the prefixes that all names share, in whatever order they are."""
    names = tensors.keys() - {_COUNTER}
    for prefix in _PREFIXES:
        if names and all(name.startswith(prefix) and name != prefix for name in names):
            shorter = {
                name[len(prefix) :]: array for name, array in tensors.items() if name in names
            }
            return _without_prefixes(shorter)
    return tensors


def write_tensors(path: str | os.PathLike, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes a checkpoint, whole or not at all; the suffix chooses the format.

    Raises:
      ImportError: the package that writes it is not installed.
      ValueError: the suffix is unknown.
    """
    write = _by_suffix(Path(path), _WRITERS)
    with temporary_beside(path) as temporary:
        write(temporary, {name: np.asarray(array, order="C") for name, array in tensors.items()})


def _by_suffix(path: Path, functions: Mapping[str, Callable]) -> Callable:
    function = functions.get(path.suffix)
    if function is None:
        raise ValueError(f"checkpoint {str(path)!r} must end with one of {', '.join(functions)}")
    return function


def _import(name: str, requirement: str, path: Path) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"checkpoint {str(path)!r}: {path.suffix} files need {requirement}, which cannot be "
            f"imported ({error}); pip install '{requirement}'"
        ) from error


def _import_torch(path: Path) -> Any:
    minimum = ".".join(map(str, MINIMUM_TORCH))
    torch = _import("torch", f"torch>={minimum}", path)
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < MINIMUM_TORCH:
        raise ImportError(
            f"checkpoint {str(path)!r}: torch {torch.__version__} lets a file run code; "
            f"pip install 'torch>={minimum}'"
        )
    return torch


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return ValueError(
        f"checkpoint {str(path)!r} is damaged or not a {path.suffix} file ({reason}); get it again"
    )


def _read_torch(path: Path, average: bool) -> dict[str, np.ndarray]:
    torch = _import_torch(path)
    try:
        # Training scripts keep their arguments in the file: a Namespace runs no code.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's message has many lines, one of which names the class or function.
        named = [line for line in str(error).splitlines() if "GLOBAL" in line]
        reason = named[0].strip() if named else str(error).partition("\n")[0]
        raise ValueError(
            f"checkpoint {str(path)!r} is damaged, or holds more than tensors and would run code "
            f"({reason}); get it again, or {_REMEDY}"
        ) from None
    # A truncated archive raises RuntimeError, a truncated pickle EOFError, and there are more.
    except Exception as error:
        raise _damaged(path, error) from error
    items = _unwrapped(content, path, average).items()
    return {name: _to_numpy(torch, name, value, path) for name, value in items}


def _unwrapped(content: Any, path: Path, average: bool) -> Mapping[str, Any]:
    """Returns the state_dict that a file's content is or wraps: the network's, or its average."""
    if not isinstance(content, Mapping):
        raise ValueError(
            f"checkpoint {str(path)!r} holds a {type(content).__name__}, not tensors by name; "
            f"{_REMEDY}"
        )
    plain = [key for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
    averages = [key for key in _AVERAGES if isinstance(content.get(key), Mapping)]
    if averages and (average or not plain):
        return _unwrapped(content[averages[0]], path, average=False)
    if plain and averages:
        _say(
            f"checkpoint {str(path)!r} holds {plain[0]!r} and {averages[0]!r}, its average over "
            f"the steps: {plain[0]!r} is read; name {str(path) + EMA!r} for the average"
        )
    if plain:
        return _unwrapped(content[plain[0]], path, average)
    if average:
        raise _no_average(path)
    return content


# Commands read a file several times.
@functools.cache
def _say(message: str) -> None:
    logging.warning(message)


def _no_average(path: Path) -> ValueError:
    return ValueError(
        f"checkpoint {str(path)!r} holds no average ({', '.join(_AVERAGES)}); name it without {EMA}"
    )


def _to_numpy(torch: Any, name: Any, value: Any, path: Path) -> np.ndarray:
    if not isinstance(name, str) or not isinstance(value, torch.Tensor):
        raise ValueError(
            f"checkpoint {str(path)!r} holds {name!r}, a {type(value).__name__}, not a tensor; "
            f"{_REMEDY}"
        )
    # An nn.Parameter is attached to its gradient.
    value = value.detach()
    try:
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    # Sparse and quantized tensors, and types that NumPy does not have.
    except (TypeError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"checkpoint {str(path)!r}: {name!r}, {value.dtype} on {value.layout}, is no array of "
            f"numbers ({reason}); save a plain state_dict() in float32"
        ) from error


def _read_safetensors(path: Path, average: bool) -> dict[str, np.ndarray]:
    if average:
        raise _no_average(path)
    safetensors = _import("safetensors", "safetensors", path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    # A type that NumPy does not have, such as F8, is a TypeError or an AttributeError.
    except (safetensors.SafetensorError, *DAMAGED) as error:
        raise _damaged(path, error) from error


def _read_npz(path: Path, average: bool) -> dict[str, np.ndarray]:
    if average:
        raise _no_average(path)
    try:
        check_archive(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except DAMAGED as error:
        raise _damaged(path, error) from error


def _write_torch(path: Path, tensors: dict[str, np.ndarray]) -> None:
    torch = _import_torch(path)
    torch.save({name: torch.from_numpy(array) for name, array in tensors.items()}, path)


def _write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    _import("safetensors.numpy", "safetensors", path).save_file(tensors, path)


def _write_npz(path: Path, tensors: dict[str, np.ndarray]) -> None:
    np.savez(path, **tensors)


_READERS = {
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
}
_WRITERS = {
    ".pth": _write_torch,
    ".pt": _write_torch,
    ".safetensors": _write_safetensors,
    ".npz": _write_npz,
}
CHECKPOINT_SUFFIXES = tuple(_READERS)
