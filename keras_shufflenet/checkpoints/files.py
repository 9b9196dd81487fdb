"""Reads and writes tensors in `.pth`, `.safetensors` and `.npz` files, without running their code.

PyTorch and safetensors are imported only when a file needs them.
"""

import contextlib
import importlib
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_shufflenet.checkpoints.limits import DAMAGED, check_archive

# Before 2.6, a malicious file could run code despite `weights_only` (CVE-2025-32434).
MINIMUM_TORCH = (2, 6)
# Keys under which training scripts save the state_dict, and the prefix that DataParallel adds.
_WRAPPERS = ("state_dict", "model")
_PREFIX = "module."


def read_tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Returns the tensors of a checkpoint, in the file's order.

    A wrapper (`{"state_dict": …}`) and the prefix "module." are removed. bfloat16 in a `.pth` file,
    which NumPy does not have, becomes float32.

    Args:
      path: a `.pth`, `.pt`, `.safetensors` or `.npz` file.

    Raises:
      FileNotFoundError: there is no such file.
      ImportError: the package that reads it is not installed; the message names it.
      ValueError: the file is damaged, would run code, or contains something other than tensors.

    Examples:
      >>> read_tensors("model.safetensors")["fc.weight"].shape
      (10, 1024)
    """
    path = Path(path)
    reader = _by_suffix(path, _READERS)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {str(path)!r} does not exist")
    tensors = reader(path)
    if not tensors:
        raise ValueError(f"checkpoint {str(path)!r} holds no tensors")
    if all(name.startswith(_PREFIX) for name in tensors):
        tensors = {name[len(_PREFIX) :]: array for name, array in tensors.items()}
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


@contextlib.contextmanager
def temporary_beside(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path next to `path`, renamed to `path` when the block succeeds."""
    path = Path(path)
    # The suffix is kept, because Keras chooses the format by it.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        temporary.replace(path)


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


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    torch = _import_torch(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's message has many lines, one of which names the class or function.
        named = [line for line in str(error).splitlines() if "GLOBAL" in line]
        reason = named[0].strip() if named else str(error).partition("\n")[0]
        raise ValueError(
            f"checkpoint {str(path)!r} is damaged, or holds more than tensors and would run code "
            f"({reason}); save only the model's state_dict()"
        ) from None
    # A truncated archive raises RuntimeError, a truncated pickle EOFError, and there are more.
    except Exception as error:
        raise _damaged(path, error) from error
    return {name: _to_numpy(torch, name, value, path) for name, value in _items(content, path)}


def _items(content: Any, path: Path) -> list[tuple[str, Any]]:
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise ValueError(
            f"checkpoint {str(path)!r} holds a {type(content).__name__}, not tensors by name; save "
            "the model's state_dict()"
        )
    return list(content.items())


def _to_numpy(torch: Any, name: Any, value: Any, path: Path) -> np.ndarray:
    if not isinstance(name, str) or not isinstance(value, torch.Tensor):
        raise ValueError(
            f"checkpoint {str(path)!r} holds {name!r}, a {type(value).__name__}, not a tensor; "
            "save only the model's state_dict()"
        )
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    safetensors = _import("safetensors", "safetensors", path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    # A type that NumPy does not have, such as F8, is a TypeError or an AttributeError.
    except (safetensors.SafetensorError, *DAMAGED) as error:
        raise _damaged(path, error) from error


def _read_npz(path: Path) -> dict[str, np.ndarray]:
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
