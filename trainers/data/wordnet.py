"""Words for the WordNet identifiers that ImageNet uses as class names."""

import functools
from collections import Counter
from collections.abc import Sequence

import tensorflow_datasets as tfds


def readable(names: Sequence[str]) -> tuple[str, ...]:
    """Returns class names, with ImageNet's WordNet identifiers replaced by words.

    Args:
      names: of a data set; names other than ImageNet's 1000 are returned unchanged.

    Examples:
      >>> readable(tfds.builder("imagenet2012").info.features["label"].names)[:2]
      ('tench', 'goldfish')
    """
    return words() if tuple(names) == _identifiers() else tuple(names)


@functools.cache
def _identifiers() -> tuple[str, ...]:
    path = tfds.core.tfds_path("datasets/imagenet2012/labels.txt")
    return tuple(path.read_text().split())


@functools.cache
def words() -> tuple[str, ...]:
    """Returns the names of ImageNet's 1000 classes in words, in their usual order."""
    # TFDS's only list of these words belongs to another data set with ImageNet's classes.
    from tensorflow_datasets.datasets.siscore.labels import IMAGENET_LABELS_LIST

    # The first of several words for a class, as in torchvision.
    first = [entry.partition(",")[0] for entry in IMAGENET_LABELS_LIST]
    times = Counter(first)
    return tuple(
        word if times[word] == 1 else f"{word} ({identifier})"
        for word, identifier in zip(first, _identifiers(), strict=True)
    )
