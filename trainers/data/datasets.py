"""Opens the splits of a data set of any kind; only this module chooses between the kinds."""

import functools
import itertools
from collections.abc import Sequence
from pathlib import Path

from common.cli import UserError
from trainers.data import catalogue, class_names, folder, imagenet
from trainers.data.sources import Source
from trainers.settings import FOLDER, DataConfig


def load_source(
    config: DataConfig,
    split: str,
    workdir: str | Path | None = None,
    must_match: bool = False,
    labels: Sequence[str] | None = None,
    labels_file: Path | None = None,
) -> Source:
    """Opens a split of a data set; see `load_sources`.

    Examples:
      >>> load_source(DataConfig(dataset="digits"), "test").num_examples
      360
    """
    (source,) = load_sources(config, [split], workdir, must_match, labels, labels_file)
    return source


def load_sources(
    config: DataConfig,
    splits: Sequence[str],
    workdir: str | Path | None = None,
    must_match: bool = False,
    labels: Sequence[str] | None = None,
    labels_file: Path | None = None,
) -> list[Source]:
    """Opens splits of a data set; looks for its files only once.

    Args:
      config: which data set, and how to read it.
      splits: in TFDS's notation, such as "train[:90%]".
      workdir: the run's folder, where the image files that it started with are recorded; None:
        they are not recorded.
      must_match: reject image files other than the recorded ones.
      labels: the class names that the data must have, those of a model; None: any.
      labels_file: where they come from, for messages; None: labels.txt of the workdir.

    Raises:
      UserError: unknown data set, split or folder; no images; no network for a download; classes
        other than `labels`, or that no training can use.

    Examples:
      >>> train, test = load_sources(DataConfig(dataset="digits"), ["train", "test"])
    """
    if labels_file is None:
        labels_file = Path(workdir or "") / class_names.LABELS_FILE
    check = functools.partial(_check_classes, config, labels_file, labels)
    if config.dataset == FOLDER:
        sources = folder.open_splits(config, splits, workdir, must_match, check)
    elif config.dataset == imagenet.NAME:
        sources = imagenet.open_splits(config, splits)
    else:
        sources = catalogue.open_splits(config, splits)
    for source, split in zip(sources, splits, strict=True):
        check(source.class_names)
        if source.num_examples == 0:
            raise UserError(f"split {split!r} of {config.dataset} is empty; name a larger slice")
    return sources


def _check_classes(
    config: DataConfig,
    labels_file: Path,
    labels: Sequence[str] | None,
    found: Sequence[str],
) -> None:
    class_names.check_usable(found, config)
    if labels is not None:
        class_names.check_same(found, labels, config, labels_file)


def print_notes(*sources: Source, training: bool = True) -> None:
    """Prints what a user should know of the data; what holds for all splits only once.

    Args:
      *sources: the data.
      training: it is for a training, so advice for one is printed, too.
    """
    lines = [(*source.notes, *source.hints * training) for source in sources]
    for line in dict.fromkeys(itertools.chain(*lines)):
        print(line, flush=True)
