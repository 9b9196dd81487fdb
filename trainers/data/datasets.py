"""Data sets by name: digits, any of TFDS, or a folder of images."""

import difflib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import file_adapters

from common.cli import UserError
from trainers.config import TrainConfig
from trainers.data import digits, folder, imagenet
from trainers.data.crops import decode
from trainers.data.sources import IndexedSource, RecordSource, Source


def load_source(config: TrainConfig, split: str, must_match: bool = False) -> Source:
    """Opens a split of the config's data set; see `load_sources`.

    Examples:
      >>> load_source(make_config("digits", "/tmp/digits", {}), "test").num_examples
      360
    """
    (source,) = load_sources(config, [split], must_match)
    return source


def load_sources(
    config: TrainConfig, splits: Sequence[str], must_match: bool = False
) -> list[Source]:
    """Opens splits of the config's data set, of which it looks for the files once.

    Args:
      config: its dataset, data_dir, verify_images, cache_mb, data_service and workdir matter.
      splits: in TFDS's notation, such as "train[:90%]".
      must_match: refuse image files other than those the run in the workdir began with.

    Raises:
      UserError: unknown data set, split or folder; no images; no network for a download.

    Examples:
      >>> config = make_config("digits", "/tmp/digits", {})
      >>> train, test = load_sources(config, ["train", "test"])
    """
    if config.dataset == "folder":
        builder = folder.open_folder(config.data_dir)
        sources = [_folder_source(builder, config, split, must_match) for split in splits]
    else:
        sources = [_tfds_source(config, split) for split in splits]
    for source, split in zip(sources, splits, strict=True):
        if source.num_examples == 0:
            raise UserError(f"split {split!r} of {config.dataset} is empty; name a larger slice")
    return sources


def _folder_source(
    builder: folder.SlicedImageFolder, config: TrainConfig, split: str, must_match: bool
) -> Source:
    paths, labels = builder.examples(split)
    statuses = [folder.file_status(path) for path in paths]
    read = _file_reader(paths, statuses, config)
    bad: list[str] = []
    if config.verify_images:
        cache = Path(config.workdir) / f"unreadable-{re.sub(r'[^0-9A-Za-z]+', '-', split)}.json"
        bad = folder.unreadable(paths, statuses, read, 3, cache, must_match)
    skip = set(bad)
    good = [number for number, path in enumerate(paths) if path not in skip]
    if paths and not good:
        raise UserError(
            f"none of the {len(paths)} images of split {split!r} in {config.data_dir} can be "
            "decoded; check what they are"
        )
    numbers, classes = tf.constant(good, tf.int64), tf.constant(labels, tf.int64)

    def read_good(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        number = tf.gather(numbers, index)
        return read(number), tf.gather(classes, number)

    return IndexedSource(
        class_names=tuple(builder.info.features["label"].names),
        num_examples=len(good),
        channels=3,
        read=read_good,
        skipped=tuple(bad),
    )


def _file_reader(
    paths: list[str], statuses: list[os.stat_result], config: TrainConfig
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function from a path's number to the file's bytes, from memory if all are small."""
    if sum(status.st_size for status in statuses) > _cache_bytes(config):
        names = tf.constant(paths, tf.string)
        return lambda number: tf.io.read_file(tf.gather(names, number))
    data = tf.constant(folder.contents(paths, statuses), tf.string)
    return lambda number: tf.gather(data, number)


def _cache_bytes(config: TrainConfig) -> int:
    # What is in memory would be sent to the servers of a data service with the pipeline.
    return 0 if config.data_service else config.cache_mb * 2**20


def _tfds_source(config: TrainConfig, split: str) -> Source:
    builder = _prepared_builder(config, split)
    features = builder.info.features
    if not {"image", "label"} <= set(features) or not hasattr(features["label"], "names"):
        raise UserError(
            f"dataset {config.dataset!r} has no image with one label, but "
            f"{', '.join(features)}; choose a data set for image classification"
        )
    try:
        num_examples = builder.info.splits[split].num_examples
    except (KeyError, ValueError, NotImplementedError):
        raise UserError(
            f"dataset {config.dataset!r} has no split {split!r}; it has "
            f"{', '.join(builder.info.splits)}, and slices such as train[:90%]"
        ) from None
    shape = features["image"].shape
    channels = 1 if shape[-1] == 1 else 3
    about = (imagenet.readable(features["label"].names), num_examples, channels)
    if None not in shape and num_examples * np.prod(shape) <= _cache_bytes(config):
        return IndexedSource(*about, read=_in_memory(builder, split, channels, num_examples))
    return _record_source(builder, split, about)


def _record_source(builder: tfds.core.DatasetBuilder, split: str, about: tuple) -> RecordSource:
    """Returns a source that opens TFDS's files itself, so as to know where each example is."""
    pieces = builder.info.splits[split].file_instructions
    files, skips, takes = (
        tf.constant([getattr(piece, name) for piece in pieces])
        for name in ("filename", "skip", "take")
    )
    adapter = file_adapters.ADAPTER_FOR_FORMAT[builder.info.file_format]
    decoders = {"image": tfds.decode.SkipDecoding()}

    def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = builder.info.features.deserialize_example(record, decoders=decoders)
        return example["image"], example["label"]

    def read(file: tf.Tensor) -> tf.data.Dataset:
        records = adapter.make_tf_data(files[file])
        chosen = records.skip(tf.cast(skips[file], tf.int64)).take(tf.cast(takes[file], tf.int64))
        return chosen.map(parse)

    return RecordSource(*about, sizes=tuple(piece.take for piece in pieces), read=read)


@tf.autograph.experimental.do_not_convert
def _in_memory(
    builder: tfds.core.DatasetBuilder, split: str, channels: int, num_examples: int
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None:
    """Decodes all images, once, and returns a function that reads by index."""
    records = builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    decoded = records.map(
        lambda example: (decode(example["image"], channels), example["label"]),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    if num_examples == 0:
        return None
    images, labels = decoded.batch(num_examples).get_single_element()
    return lambda index: (images[index], labels[index])


def _prepared_builder(config: TrainConfig, split: str) -> tfds.core.DatasetBuilder:
    name = config.dataset
    try:
        builder = tfds.builder(name, data_dir=config.data_dir)
    except tfds.core.DatasetNotFoundError:
        near = difflib.get_close_matches(name, tfds.list_builders(), n=3)
        hint = f" (did you mean {', '.join(near)}?)" if near else ""
        raise UserError(
            f"unknown dataset {name!r}{hint}; --dataset is {digits.Digits.name}, folder or a "
            "name in the catalogue of TensorFlow Datasets, such as cifar10"
        ) from None
    if not builder.is_prepared():
        if name == imagenet.NAME:
            imagenet.check_archives(Path(builder.data_dir).parents[1], split)
        _prepare(builder)
    return builder


def _prepare(builder: tfds.core.DatasetBuilder) -> None:
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        builder.download_and_prepare()
    # Anything can come up: the network, the disk, archives that are to be fetched by hand.
    except Exception as error:
        # Instructions for fetching archives by hand take several lines.
        lines = None if builder.MANUAL_DOWNLOAD_INSTRUCTIONS else 1
        reason = " ".join(line.strip() for line in str(error).strip().split("\n")[:lines])
        raise UserError(
            f"dataset {builder.name!r} cannot be prepared in {builder.data_dir} "
            f"({type(error).__name__}: {reason}); check the network and the disk, or name a "
            "folder with the prepared data set by --data_dir"
        ) from error
