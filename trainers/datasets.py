"""Data sets by name: digits, any of TFDS, or a folder of images."""

import difflib
import re
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from trainers import digits, folder
from trainers.cli import UserError
from trainers.config import TrainConfig
from trainers.sources import IndexedSource, RecordSource, Source

_DECODED_LIMIT = 512 * 2**20  # bytes; CIFAR-10 has 154 MB, ImageNet hundreds of GB


def load_source(config: TrainConfig, split: str, must_match: bool = False) -> Source:
    """Opens a split of the config's data set.

    Args:
      config: its dataset, data_dir, verify_images and workdir matter.
      split: in TFDS's notation, such as "train[:90%]".
      must_match: refuse image files other than those the run in the workdir began with.

    Raises:
      UserError: unknown data set, split or folder; no images; no network for a download.

    Examples:
      >>> load_source(make_config("digits", "/tmp/digits", {}), "test").num_examples
      360
    """
    if config.dataset == "folder":
        source = _folder_source(config, split, must_match)
    else:
        source = _tfds_source(config, split)
    if source.num_examples == 0:
        raise UserError(f"split {split!r} of {config.dataset} is empty; name a larger slice")
    return source


def decode(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Returns a uint8 image [height, width, channels]; what is decoded already passes through.

    Args:
      image: bytes of a JPEG, PNG, BMP or GIF file, or a decoded image.
      channels: 1 or 3; grey images, and those with transparency, are converted.
    """
    if image.dtype != tf.string:
        return image
    image = tf.io.decode_image(image, channels=channels, expand_animations=False)
    image.set_shape([None, None, channels])
    return image


def _folder_source(config: TrainConfig, split: str, must_match: bool) -> Source:
    builder = folder.open_folder(config.data_dir)
    paths, labels = builder.examples(split)
    bad: list[str] = []
    if config.verify_images:
        cache = Path(config.workdir) / f"unreadable-{re.sub(r'[^0-9A-Za-z]+', '-', split)}.json"
        bad = folder.unreadable(paths, 3, cache, must_match)
    skip = set(bad)
    good = [(path, label) for path, label in zip(paths, labels, strict=True) if path not in skip]
    if paths and not good:
        raise UserError(
            f"none of the {len(paths)} images of split {split!r} in {config.data_dir} can be "
            "decoded; check what they are"
        )
    names = tf.constant([path for path, _ in good], tf.string)
    classes = tf.constant([label for _, label in good], tf.int64)
    return IndexedSource(
        class_names=tuple(builder.info.features["label"].names),
        num_examples=len(good),
        channels=3,
        read=lambda index: (tf.io.read_file(names[index]), classes[index]),
        skipped=tuple(bad),
    )


def _tfds_source(config: TrainConfig, split: str) -> Source:
    builder = _prepared_builder(config)
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
    records = builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    records = records.map(lambda example: (example["image"], example["label"]))
    about = (tuple(features["label"].names), num_examples, channels)
    if None not in shape and num_examples * np.prod(shape) <= _DECODED_LIMIT:
        return IndexedSource(*about, read=_in_memory(records, channels, num_examples))
    return RecordSource(*about, records=records)


def _in_memory(records: tf.data.Dataset, channels: int, num_examples: int):
    """Decodes all images, once, and returns a function that reads by index."""
    decoded = records.map(
        lambda image, label: (decode(image, channels), label), num_parallel_calls=tf.data.AUTOTUNE
    )
    if num_examples == 0:
        return None
    images, labels = decoded.batch(num_examples).get_single_element()
    return lambda index: (images[index], labels[index])


def _prepared_builder(config: TrainConfig) -> tfds.core.DatasetBuilder:
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
        _prepare(builder)
    return builder


def _prepare(builder: tfds.core.DatasetBuilder) -> None:
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        builder.download_and_prepare()
    # Anything can come up: the network, the disk, archives that are to be fetched by hand.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"dataset {builder.name!r} cannot be prepared in {builder.data_dir} "
            f"({type(error).__name__}: {reason}); check the network and the disk, or name a "
            "folder with the prepared data set by --data_dir"
        ) from error
