"""ImageNet (ILSVRC 2012): its archives, which are fetched by hand, and its classes' names.

TFDS prepares it as `imagenet2012`, with the splits train, 1,281,167 images, and validation, 50,000.
"""

import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from common.cli import UserError

NAME = "imagenet2012"
# Their sizes in bytes, as TFDS has them with its checksums, by the split they become.
ARCHIVES = {
    "train": ("ILSVRC2012_img_train.tar", 147_897_477_120),
    "validation": ("ILSVRC2012_img_val.tar", 6_744_924_160),
}
_PAGE = "https://image-net.org/download-images"


def check_archives(data_dir: Path, split: str) -> None:
    """Refuses to prepare ImageNet from archives that are missing or incomplete.

    TFDS would prepare what is there, and the other split would be missing for good.

    Args:
      data_dir: where TFDS keeps its data.
      split: the one that is wanted; without the training images validation's archive is enough.

    Raises:
      UserError: what is to be put where.
    """
    folder = data_dir / "downloads" / "manual"
    needed = ["validation"] if split.startswith("validation") else list(ARCHIVES)
    states = [_state(folder, *ARCHIVES[name]) for name in needed]
    if any(states):
        wanted = " and ".join(
            f"{ARCHIVES[name][0]} ({ARCHIVES[name][1]:,} bytes{', ' * bool(state)}{state})"
            for name, state in zip(needed, states, strict=True)
        )
        raise UserError(
            f"{NAME} is not prepared in {data_dir}: put {wanted} from {_PAGE}, after registering "
            f"there, into {folder} and start the same command again; it then prepares the data "
            "set, once, which takes hours and as much disk again"
        )


def readable(names: Sequence[str]) -> tuple[str, ...]:
    """Returns class names, with ImageNet's WordNet identifiers replaced by words.

    Args:
      names: of a data set; other than ImageNet's 1000 they are returned as they are.

    Examples:
      >>> readable(tfds.builder("imagenet2012").info.features["label"].names)[:2]
      ('tench', 'goldfish')
    """
    return _words() if tuple(names) == _identifiers() else tuple(names)


def _state(folder: Path, name: str, size: int) -> str:
    """Returns what is wrong with an archive, or nothing."""
    if not (folder / name).is_file():
        return "missing"
    found = (folder / name).stat().st_size
    return "" if found == size else f"but there are {found:,}: fetch it again"


@functools.cache
def _identifiers() -> tuple[str, ...]:
    path = tfds.core.tfds_path("datasets/imagenet2012/labels.txt")
    return tuple(path.read_text().split())


@functools.cache
def _words() -> tuple[str, ...]:
    # The one list of words that TFDS has: that of a data set with ImageNet's classes.
    from tensorflow_datasets.datasets.siscore.labels import IMAGENET_LABELS_LIST

    # Of several words for a class the first, as torchvision has it.
    words = [entry.partition(",")[0] for entry in IMAGENET_LABELS_LIST]
    times = Counter(words)
    return tuple(
        word if times[word] == 1 else f"{word} ({identifier})"
        for word, identifier in zip(words, _identifiers(), strict=True)
    )
