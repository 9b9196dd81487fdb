"""Converts a checkpoint to a `.keras` file or back, with a check; lists what is in a file."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import keras
import numpy as np

from keras_shufflenet.checkpoints.files import CHECKPOINT_SUFFIXES, file_of, read_tensors
from keras_shufflenet.checkpoints.limits import DAMAGED
from keras_shufflenet.checkpoints.networks import describe, load_checkpoint, save_torchvision
from keras_shufflenet.checkpoints.temporary import temporary_beside
from keras_shufflenet.checkpoints.weights import torchvision_tensors
from keras_shufflenet.checkpoints.weights_argument import KERAS_SUFFIXES, open_keras_file
from keras_shufflenet.preprocessing import preprocessing_of


def inspect(path: Path) -> None:
    """Prints every tensor of a file with its shape and type, and the network that it belongs to."""
    if path.name.endswith(KERAS_SUFFIXES):
        tensors = _keras_arrays(path)
        _print_tensors(tensors)
        return
    tensors = read_tensors(path)
    _print_tensors(tensors)
    try:
        print(describe(tensors, path))
    except ValueError as error:
        # Not an error: the user wants to see what is in an unknown file.
        print(error)


def _keras_arrays(path: Path) -> dict[str, np.ndarray]:
    arrays = {}

    def visit(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset):
            arrays[name] = node[()]

    try:
        with open_keras_file(str(path)) as file:
            file.visititems(visit)
    except DAMAGED as error:
        raise ValueError(
            f"{str(path)!r} is damaged or not a {path.suffix} file ({error}); get it again"
        ) from error
    return arrays


def _print_tensors(tensors: Mapping[str, np.ndarray]) -> None:
    width = max(map(len, tensors))
    for name, array in tensors.items():
        shape = "x".join(map(str, array.shape)) or "scalar"
        print(f"{name.ljust(width)}  {str(array.dtype).ljust(8)}  {shape}")
    print(f"{len(tensors)} tensors, {sum(array.size for array in tensors.values()):,} values")


def convert(path: Path, output: Path, overwrite: bool = False, input_size: int = 224) -> None:
    """Converts a file in the direction given by the suffixes, and checks what was written.

    Args:
      path: a PyTorch checkpoint or a `.keras` file.
      output: the file to write, of the other kind.
      overwrite: whether to replace `output` if it exists.
      input_size: height and width of the `.keras` model's input, in pixels.

    Raises:
      ValueError: the file or a suffix is wrong, or the output exists already.
    """
    if output.exists() and not overwrite:
        raise ValueError(f"--output {str(output)!r} exists already; add --overwrite to replace it")
    if path.suffix == ".keras" and output.suffix in CHECKPOINT_SUFFIXES:
        _export(path, output)
    elif file_of(path)[0].suffix in CHECKPOINT_SUFFIXES and output.suffix == ".keras":
        _import(path, output, input_size)
    else:
        raise ValueError(
            f"convert goes from {', '.join(CHECKPOINT_SUFFIXES)} to .keras or back. "
            f"Received: {str(path)!r} and --output={str(output)!r}"
        )


def _import(path: Path, output: Path, size: int) -> None:
    """Writes a checkpoint as a `.keras` model that outputs logits."""
    described = describe(read_tensors(path), path)
    shape = (size, size, described.channels)
    model = load_checkpoint(path, input_shape=shape, classifier_activation=None)
    with temporary_beside(output) as temporary:
        model.save(temporary)
        again = keras.saving.load_model(temporary, compile=False)
        _compare(_arrays(model), _arrays(again), output)
        if preprocessing_of(again) != preprocessing_of(model):
            raise ValueError(f"{str(output)!r} lost its preprocessing; nothing was written")
    print(described)
    print(f"{output}: {model.count_params():,} values, loaded again and equal; it outputs logits")


def _export(path: Path, output: Path) -> None:
    """Writes a `.keras` model as torchvision's checkpoint."""
    # Keras's safe mode, its default, rejects files that contain code.
    try:
        open_keras_file(str(path)).close()  # Checks its sizes.
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras lets errors of zipfile, json and h5py through.
        reason = "".join(str(error).strip().splitlines()[:1])
        raise ValueError(f"{str(path)!r} cannot be loaded: {reason}; get it again") from error
    with temporary_beside(output) as temporary:
        save_torchvision(model, temporary)
        tensors = read_tensors(temporary)
        _compare(torchvision_tensors(model), tensors, output)
    print(f"{output}: {len(tensors)} tensors for torchvision's ShuffleNetV2, read again and equal")
    mode = preprocessing_of(model)
    if mode != "torch":
        known = "not known" if mode is None else repr(mode)
        print(f"its preprocessing is {known}; torchvision's own networks use 'torch'")


def _arrays(model: keras.Model) -> dict[str, np.ndarray]:
    return {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}


def _compare(
    written: Mapping[str, np.ndarray], read: Mapping[str, np.ndarray], output: Path
) -> None:
    for name, array in written.items():
        if name not in read or not np.array_equal(array, read[name]):
            raise ValueError(
                f"{str(output)!r} has another {name!r} when read again; nothing was written"
            )
    if len(written) != len(read):
        raise ValueError(f"{str(output)!r} has more arrays when read again; nothing was written")
