"""Any data set in the catalogue of TensorFlow Datasets (TFDS), or registered with it."""

import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import file_adapters

from common.cli import UserError
from trainers.data.digits import Digits
from trainers.data.images.decoding import decode
from trainers.data.sources import IndexedSource, RecordSource, Source
from trainers.data.wordnet import readable
from trainers.settings import DataConfig


def open_splits(
    config: DataConfig,
    splits: Sequence[str],
    check_files: Callable[[Path, str], None] = lambda data_dir, split: None,
) -> list[Source]:
    """Opens splits of a data set for image classification; prepares it first if needed.

    Args:
      config: the data set's name, and where it is kept.
      splits: in TFDS's notation.
      check_files: called before the data set is prepared, with the folder of all data sets and the
        split; raises UserError if preparing cannot succeed.

    Raises:
      UserError: the data set is unknown, has no such split, or cannot be prepared or used.
    """
    builders = [prepared_builder(config, each, _check_features, check_files) for each in splits]
    return [_open(*pair, config) for pair in zip(builders, splits, strict=True)]


def _check_features(builder: tfds.core.DatasetBuilder, config: DataConfig) -> None:
    features = builder.info.features
    if not {"image", "label"} <= set(features) or not hasattr(features["label"], "names"):
        raise UserError(
            f"dataset {config.dataset!r} has {', '.join(features)} instead of an image with one "
            "label; choose a data set for image classification"
        )


def _open(builder: tfds.core.DatasetBuilder, split: str, config: DataConfig) -> Source:
    features, num_examples = builder.info.features, count_examples(builder, config, split)
    shape = features["image"].shape
    channels = config.channels or (1 if shape[-1] == 1 else 3)
    about = (readable(features["label"].names), num_examples, channels)
    if None not in shape and num_examples * np.prod(shape) <= config.cache_bytes:
        return IndexedSource(*about, read=_in_memory(builder, split, channels, num_examples))
    return _record_source(builder, split, about)


def count_examples(builder: tfds.core.DatasetBuilder, config: DataConfig, split: str) -> int:
    """Returns the number of examples of a split.

    Raises:
      UserError: there is no such split.
    """
    try:
        return builder.info.splits[split].num_examples
    except (KeyError, ValueError, NotImplementedError, AssertionError):
        raise UserError(
            f"dataset {config.dataset!r} has no split {split!r}; use "
            f"{', '.join(builder.info.splits)}, or a slice such as train[:90%]"
        ) from None


def _record_source(builder: tfds.core.DatasetBuilder, split: str, about: tuple) -> RecordSource:
    """Returns a source that opens TFDS's files itself, and so knows where each example is."""
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
    """Decodes all images once and returns a function that reads by index."""
    records = builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    decoded = records.map(
        lambda example: (decode(example["image"], channels), example["label"]),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    if num_examples == 0:
        return None
    images, labels = decoded.batch(num_examples).get_single_element()
    return lambda index: (images[index], labels[index])


def prepared_builder(
    config: DataConfig,
    split: str,
    check_features: Callable[[tfds.core.DatasetBuilder, DataConfig], None],
    check_files: Callable[[Path, str], None] = lambda data_dir, split: None,
) -> tfds.core.DatasetBuilder:
    """Returns a data set of the catalogue, prepared if it is not yet; as `open_splits`.

    Both checks come before anything is downloaded.
    """
    name = config.dataset
    try:
        builder = tfds.builder(name, data_dir=config.data_dir)
    except tfds.core.DatasetNotFoundError:
        near = difflib.get_close_matches(name, tfds.list_builders(), n=3)
        hint = f" (did you mean {', '.join(near)}?)" if near else ""
        raise UserError(
            f"unknown dataset {name!r}{hint}; --dataset is {Digits.name}, folder or a "
            "name from the catalogue of TensorFlow Datasets, such as cifar10"
        ) from None
    except (ValueError, AssertionError, TypeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"dataset {name!r} cannot be opened ({reason}); check --dataset") from None
    check_features(builder, config)
    if not builder.is_prepared():
        check_files(Path(builder.data_dir).parents[1], split)
        _prepare(builder)
    return builder


def _prepare(builder: tfds.core.DatasetBuilder) -> None:
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        builder.download_and_prepare()
    # Anything can fail: the network, the disk, archives that must be downloaded by hand.
    except Exception as error:
        # Instructions for downloading archives by hand take several lines.
        lines = None if builder.MANUAL_DOWNLOAD_INSTRUCTIONS else 1
        reason = " ".join(line.strip() for line in str(error).strip().split("\n")[:lines])
        raise UserError(
            f"dataset {builder.name!r} cannot be prepared in {builder.data_dir} "
            f"({type(error).__name__}: {reason}); check the network and the disk, or name a "
            "folder with the prepared data set with --data_dir"
        ) from error
