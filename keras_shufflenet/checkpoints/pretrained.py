"""torchvision's ImageNet weights: downloaded, converted once, and kept as Keras weights."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras

from keras_shufflenet.checkpoints import weights
from keras_shufflenet.checkpoints.files import read_tensors
from keras_shufflenet.checkpoints.names import TORCHVISION, recognize
from keras_shufflenet.checkpoints.temporary import temporary_beside


class Source(NamedTuple):
    """A published checkpoint.

    Attributes:
      url: its address; before the suffix, the name ends with the first digits of its SHA-256.
      top1, top5: accuracy on ImageNet's validation images in percent, as torchvision published it.
      resize: the shorter side in pixels, for these figures, before the central 224 are cropped.
    """

    url: str
    top1: float
    top5: float
    resize: int


_ADDRESS = "https://download.pytorch.org/models/"
# By scale; from torchvision/models/shufflenetv2.py, the weights called IMAGENET1K_V1.
SOURCES = {
    0.5: Source(_ADDRESS + "shufflenetv2_x0.5-f707e7126e.pth", 60.552, 81.746, 256),
    1.0: Source(_ADDRESS + "shufflenetv2_x1-5666bf0f80.pth", 69.362, 88.316, 256),
    1.5: Source(_ADDRESS + "shufflenetv2_x1_5-3c479a10.pth", 72.996, 91.086, 232),
    2.0: Source(_ADDRESS + "shufflenetv2_x2_0-8be3c8ee.pth", 76.230, 93.006, 232),
}

_FOLDER = "models"


def imagenet(scale: float, build: Callable[..., keras.Model]) -> weights.Checkpoint:
    """Returns torchvision's ImageNet weights of ShuffleNetV2, from the cache if it has them.

    The cache is `~/.keras/models`, or `models` in the folder that KERAS_HOME names.

    Args:
      scale: 0.5, 1.0, 1.5 or 2.0.
      build: `ShuffleNetV2`; given as an argument because its module imports this one.

    Raises:
      ConnectionError: they cannot be downloaded; the message says where to put the file.
      ImportError: they must be converted, and PyTorch is not installed.
      ValueError: there are none at this scale, or the downloaded file is not the published one.
    """
    if scale not in SOURCES:
        raise ValueError(
            f"`weights`='imagenet' exists for scale={', '.join(map(str, SOURCES))}. "
            f"Received: scale={scale!r}"
        )
    name = _file_name(scale)
    converted = _home() / _FOLDER / f"{Path(name).stem}.weights.h5"
    if not _is_intact(converted):
        published = _download(scale)
        # Keras uses another folder if it cannot write to its home.
        converted = published.with_name(converted.name)
        if not _is_intact(converted):
            _convert(published, converted, _network(scale, build))
    network = _network(scale, build)
    network.load_weights(converted)
    tensors = weights.torchvision_tensors(network)
    return weights.Checkpoint(converted, TORCHVISION, tensors)


def _file_name(scale: float) -> str:
    return SOURCES[scale].url.rpartition("/")[2]


def _home() -> Path:
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def _network(scale: float, build: Callable[..., keras.Model]) -> keras.Model:
    """Returns torchvision's network with random weights; no weight depends on the input size."""
    policy = keras.config.dtype_policy()
    # The cached weights serve later uses of every precision.
    keras.config.set_dtype_policy("float32")
    try:
        return build(scale, input_shape=(32, 32, 3), **TORCHVISION.settings)
    finally:
        keras.config.set_dtype_policy(policy)


def _download(scale: float) -> Path:
    """Returns the published file, checked, from the cache or downloaded."""
    url, name = SOURCES[scale].url, _file_name(scale)
    kept = _home() / _FOLDER / name
    if kept.is_file() and not _is_published(kept):
        # An incomplete download, which Keras would use.
        kept.unlink()
    try:
        path = Path(keras.utils.get_file(name, url, cache_dir=str(_home()), cache_subdir=_FOLDER))
    # Keras raises a plain Exception for urllib's errors, and lets time-outs through.
    except Exception as error:
        raise ConnectionError(
            f"`weights`='imagenet' cannot be downloaded from {url} ({error}); without a network, "
            f"put that file at {kept}"
        ) from error
    if not _is_published(path):
        path.unlink()
        raise ValueError(
            f"`weights`='imagenet': the file from {url} is not the published file, whose SHA-256 "
            f"begins with {_digits(name)}; it was deleted, try again"
        )
    return path


def _digits(name: str) -> str:
    return Path(name).stem.rpartition("-")[2]


def _is_published(path: Path) -> bool:
    return _sha256(path).startswith(_digits(path.name))


def _convert(published: Path, converted: Path, network: keras.Model) -> None:
    """Writes the Keras weights of a downloaded file, and their hash next to them."""
    tensors = read_tensors(published)
    checkpoint = weights.Checkpoint(published, recognize(tensors, published), tensors)
    weights.load(network, checkpoint)
    with temporary_beside(converted) as temporary:
        network.save_weights(temporary)
        digest = _sha256(temporary)
    # The hash comes last: without it, or if it does not match, the weights are converted again.
    with temporary_beside(_hash_file(converted)) as temporary:
        temporary.write_text(digest, encoding="ascii")


def _is_intact(path: Path) -> bool:
    try:
        return _sha256(path) == _hash_file(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return False


def _hash_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
