"""Opens the splits of a data set of any kind; only this module chooses between the kinds."""

from collections.abc import Sequence
from pathlib import Path

from common.cli import UserError
from trainers.data import catalogue, folder, imagenet
from trainers.data.sources import Source
from trainers.settings import FOLDER, DataConfig


def load_source(
    config: DataConfig, split: str, workdir: str | Path | None = None, must_match: bool = False
) -> Source:
    """Opens a split of a data set; see `load_sources`.

    Examples:
      >>> load_source(DataConfig(dataset="digits"), "test").num_examples
      360
    """
    (source,) = load_sources(config, [split], workdir, must_match)
    return source


def load_sources(
    config: DataConfig,
    splits: Sequence[str],
    workdir: str | Path | None = None,
    must_match: bool = False,
) -> list[Source]:
    """Opens splits of a data set; looks for its files only once.

    Args:
      config: which data set, and how to read it.
      splits: in TFDS's notation, such as "train[:90%]".
      workdir: the run's folder, where the image files that it started with are recorded; None:
        they are not recorded.
      must_match: reject image files other than the recorded ones.

    Raises:
      UserError: unknown data set, split or folder; no images; no network for a download.

    Examples:
      >>> train, test = load_sources(DataConfig(dataset="digits"), ["train", "test"])
    """
    if config.dataset == FOLDER:
        sources = folder.open_splits(config, splits, workdir, must_match)
    elif config.dataset == imagenet.NAME:
        sources = imagenet.open_splits(config, splits)
    else:
        sources = catalogue.open_splits(config, splits)
    for source, split in zip(sources, splits, strict=True):
        if source.num_examples == 0:
            raise UserError(f"split {split!r} of {config.dataset} is empty; name a larger slice")
    return sources


def print_notes(*sources: Source) -> None:
    """Prints what a user should know of the data; what holds for all splits only once."""
    for note in dict.fromkeys(note for source in sources for note in source.notes):
        print(note, flush=True)
