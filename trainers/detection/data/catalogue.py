"""Boxes of TensorFlow Datasets (TFDS), such as `voc` and `coco`: written as files once.

TFDS keeps examples in records, to be read one after another. A detector's training reads images by
their number, in any order, and so resumes anywhere; mosaics need others beside them; pages show the
files. So the images are written beside the records, byte by byte as they are there, with their
boxes in COCO's format, and from then on the data set is like any other folder.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from PIL import Image, UnidentifiedImageError

from common.cli import UserError
from common.console.progress import Progress
from common.files import atomic_write, write_text
from trainers.data.catalogue import count_examples, prepared_builder
from trainers.settings import DataConfig

# Within the folder of a data set's version.
_FOLDER = "as_files"
_DIGITS = 20
_DECIMALS = 3


def write_as_files(config: DataConfig, splits: Sequence[str]) -> Path:
    """Returns a folder with splits of a TFDS data set in COCO's format; writes what is missing.

    The images take as much disk space again. A split that was written once is not read again.

    Args:
      config: the data set's name, and where TFDS keeps it.
      splits: in TFDS's notation, such as "train" or "train[:90%]".

    Raises:
      UserError: the data set is unknown, has no such split or no boxes, or cannot be prepared.

    Examples:
      >>> write_as_files(DataConfig(dataset="voc"), ["train", "validation"]).name
      'as_files'
    """
    for split in splits:
        builder = prepared_builder(config, split, _check_features)
        total = count_examples(builder, config, split)
        root = Path(builder.data_dir) / _FOLDER
        if not (root / f"{split}.json").is_file():
            _write(builder, split, total, root)
    return root


def _check_features(builder: tfds.core.DatasetBuilder, config: DataConfig) -> None:
    features = builder.info.features
    objects = getattr(features["objects"], "feature", {}) if "objects" in features else {}
    known = {"bbox", "label"} <= set(objects) and hasattr(objects["label"], "names")
    if "image" not in features or not known:
        raise UserError(
            f"dataset {config.dataset!r} has {', '.join(features)} instead of an image and its "
            "objects with boxes and labels; choose a data set for object detection, such as voc"
        )


def _write(builder: tfds.core.DatasetBuilder, split: str, total: int, root: Path) -> None:
    (root / "images").mkdir(parents=True, exist_ok=True)
    names = builder.info.features["objects"].feature["label"].names
    records = builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    content: dict[str, list] = {
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
        "images": [],
        "annotations": [],
    }
    with Progress(f"writing {split!r} as files", total) as progress:
        for number, example in enumerate(tfds.as_numpy(records)):
            image = _write_image(example["image"], root / "images")
            content["images"].append({"id": number, **image})
            boxes = _boxes(example["objects"], image["width"], image["height"])
            content["annotations"] += [{"image_id": number, **box} for box in boxes]
            progress.update(number + 1)
    # Last: a split that has its JSON file is complete.
    write_text(root / f"{split}.json", json.dumps(content))


def _write_image(content: bytes, folder: Path) -> dict[str, Any]:
    """Writes an image, called by its content: parts of a data set may share it."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            (width, height), suffix = image.size, f".{image.format.lower()}"
    except (UnidentifiedImageError, OSError):
        # Whoever reads the files counts it.
        width, height, suffix = 0, 0, ""
    path = folder / f"{hashlib.sha256(content).hexdigest()[:_DIGITS]}{suffix}"
    if not path.is_file():
        with atomic_write(path) as temporary:
            Path(temporary).write_bytes(content)
    return {"file_name": path.name, "width": width, "height": height}


def _boxes(objects: dict[str, Any], width: int, height: int) -> Iterator[dict[str, Any]]:
    """Yields an image's boxes as COCO has them: in pixels, left, top, width and height."""
    for number, (box, label) in enumerate(zip(objects["bbox"], objects["label"], strict=True)):
        top, left, bottom, right = (float(value) for value in box)
        corner = [left * width, top * height, (right - left) * width, (bottom - top) * height]
        entry = {
            "category_id": int(label),
            "bbox": [round(value, _DECIMALS) for value in corner],
        }
        if "area" in objects:
            entry["area"] = float(objects["area"][number])
        for theirs, coco in (("is_crowd", "iscrowd"), ("is_difficult", "ignore")):
            if theirs in objects and objects[theirs][number]:
                entry[coco] = 1
        yield entry
