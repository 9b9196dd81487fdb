"""Opens photographs in class folders in the order that a `.keras` file has its classes in."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import tensorflow as tf

from common.cli import UserError
from trainers.data.class_names import describe, difference
from trainers.data.datasets import load_sources
from trainers.data.folder import open_folder
from trainers.data.sources import IndexedSource, Source
from trainers.settings import DataConfig


def labels_of_folders(
    data: DataConfig, classes: int, known: Sequence[str] | None, path: Path
) -> tuple[str, ...]:
    """Returns a classifier's class names, compared with the folders of its photographs.

    Args:
      data: names the folder and its splits.
      classes: the number of the classifier's classes.
      known: their names in its order; None: those of the folders, sorted.
      path: the classifier's file, for messages.

    Raises:
      UserError: the folder cannot be used, or has other classes.
    """
    splits = data.train_split, data.eval_split
    found = open_folder(data.data_dir, splits, *splits).class_names
    if known is None and len(found) != classes:
        raise UserError(
            f"{path} has {classes} classes, but {describe(data)} has {len(found)}; give all their "
            "photographs, each class in a folder of its name (--labels: the names in the "
            "classifier's order)"
        )
    if known is not None and set(found) != set(known):
        raise UserError(
            f"{describe(data)} has other classes than {path}: {difference(found, known)}; rename "
            "the folders, or give the right names with --labels"
        )
    return tuple(known or found)


def sources_in_order(labels: Sequence[str]) -> Callable[..., list[Source]]:
    """Returns what opens splits as `load_sources`, with classes in the order of `labels`."""

    def load(
        data: DataConfig,
        splits: Sequence[str],
        workdir: str | Path | None = None,
        must_match: bool = False,
        recorded: Sequence[str] | None = None,
    ) -> list[Source]:
        wanted = tuple(recorded or labels)
        return [
            _in_order(source, wanted)
            for source in load_sources(data, splits, workdir, must_match, sorted(wanted))
        ]

    return load


def _in_order(source: IndexedSource, names: Sequence[str]) -> IndexedSource:
    numbers = tf.constant([names.index(name) for name in source.class_names], tf.int64)

    def read(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, label = source.read(index)
        return image, tf.gather(numbers, label)

    counts = dict(zip(source.class_names, source.class_counts, strict=True))
    ordered = tuple(counts[name] for name in names)
    return dataclasses.replace(source, class_names=names, class_counts=ordered, read=read)
