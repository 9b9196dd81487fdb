"""Times this project's input pipeline, or a plain tf.data one.

Run by `edge.running.worker.call`.
"""

from pathlib import Path

import tensorflow as tf

from benchmarks.input_pipeline import boxes
from benchmarks.input_pipeline.settings import OURS, Setting, rate
from edge.running import worker
from edge.running.timing import pin
from keras_shufflenet import preprocess_input
from trainers.config import TrainConfig
from trainers.data.datasets import load_source
from trainers.data.pipeline import training_batches


def measure(request: dict) -> dict:
    """Returns `images_per_second` of the request's pipeline, on its cores."""
    pin(request["cores"])
    setting = Setting(**request["setting"])
    pipeline, folder = request["pipeline"], Path(request["folder"])
    has_boxes = setting.crop == "boxes"
    if pipeline == OURS:
        make = boxes.our_batches if has_boxes else _ours
        batches = make(setting, folder)
    else:
        plain = boxes.plain_batches if has_boxes else _plain_batches
        batches = plain(setting, folder, antialias=pipeline == "tf.data antialiased")
    return {"images_per_second": rate(batches, setting.batch_size, request["seconds"])}


def _ours(setting: Setting, folder: Path) -> tf.data.Dataset:
    values = {
        "recipe": "none",
        "workdir": str(folder),
        "dataset": "folder",
        "data_dir": str(folder),
        "verify_images": False,
        "input_size": setting.size,
        "crop_share": 1.0,
        "preprocessing": "torch",
        "crop": setting.crop,
        "crop_padding": setting.padding,
        "crop_min_area": setting.min_area,
        "color_jitter": setting.color_jitter,
        "batch_size": setting.batch_size,
    }
    config = TrainConfig.from_flat(values)
    return training_batches(config, load_source(config.data, "train"), 0)


def _plain_batches(setting: Setting, folder: Path, antialias: bool) -> tf.data.Dataset:
    """Decodes, crops, resizes, mirrors and normalizes like tf.data's guides."""
    files = sorted(str(path) for path in folder.glob("train/*/*.jpg"))
    names = sorted({Path(file).parent.name for file in files})
    labels = [names.index(Path(file).parent.name) for file in files]

    def load(file: tf.Tensor, label: tf.Tensor):
        image = tf.io.decode_jpeg(tf.io.read_file(file), channels=3)
        if setting.crop == "pad":
            around = [[setting.padding] * 2] * 2 + [[0, 0]]
            image = tf.pad(image, around, "REFLECT")
            image = tf.image.random_crop(image, [setting.size, setting.size, 3])
        else:
            begin, extent, _ = boxes.random_window(image, setting.min_area)
            image = tf.slice(image, begin, extent)
            image = tf.image.resize(image, [setting.size] * 2, antialias=antialias)
        image = tf.image.random_flip_left_right(image)
        image = tf.ensure_shape(image, [setting.size, setting.size, 3])
        return preprocess_input(image, mode="torch"), label

    stream = tf.data.Dataset.from_tensor_slices((files, labels)).shuffle(len(files)).repeat()
    stream = stream.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    return stream.batch(setting.batch_size).prefetch(tf.data.AUTOTUNE)


if __name__ == "__main__":
    worker.serve(measure)
