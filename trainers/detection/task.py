"""The task of training a detector, for the training loop."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from common.cli import UserError
from common.detection.boxes import SIDES, make_points
from common.detection.nms import Detections, detect
from keras_shufflenet import ShuffleNetDetector, detector_strides
from trainers.config import TrainConfig
from trainers.data.sources import file_reader
from trainers.data.verification import file_status, record_path, verify
from trainers.detection import batches
from trainers.detection.augmentation import BoxAugmentation
from trainers.detection.box_ops import Truth, make_grid
from trainers.detection.data.annotations import Annotated
from trainers.detection.data.catalogue import write_as_files
from trainers.detection.data.dataset import open_sets
from trainers.detection.evaluation import gathered, in_image, precision_of
from trainers.detection.losses import detection_losses, distillation_losses
from trainers.detection.scores import DetectionScores
from trainers.detection.starting_weights import load_detector_weights
from trainers.networks.models import architecture, build_model
from trainers.settings import FOLDER, DataConfig
from trainers.task import Task

# Settings by group.
_UNUSED: dict[str, tuple[str, ...]] = {
    "data": ("data_service",),
    "network": ("whiten_stem",),
    "images": ("train_size",),
    "augmentation": (
        "crop_padding",
        "crop_min_area",
        "color_jitter",
        "trivial_augment",
        "random_erasing",
        "repeated_augmentation",
        "mixup",
        "cutmix",
    ),
    "optimization": ("precision", "distill", "label_smoothing", "class_weights"),
}


class DetectionTask(Task):
    """Trains a detector in float32.

    Of the config's images, the input's size and preprocessing matter; of its augmentation, `flip`:
    `config.detection` has the rest.

    Args:
      config: the run's settings.

    Raises:
      UserError: a setting that detectors do not support.

    Examples:
      >>> loop.train(config, make_task=DetectionTask, load=open_sources)
    """

    # There are few images, of which each has many objects.
    epochs_between_evaluations = 5

    def __init__(self, config: TrainConfig):
        super().__init__(config)
        check_config(config)
        how, size = config.detection, config.images.input_size
        self._grid = make_grid(size, size, how.all_strides)
        self._augmentation = BoxAugmentation(
            flip=config.augmentation.flip,
            flip_vertical=how.flip_vertical,
            scale=(how.window_min, how.window_max),
            mosaic=how.mosaic,
        )

    def build(self, source: batches.BoxSource) -> keras.Model:
        """Returns the detector for the images and classes of `source`."""
        network, images, how = self.config.network, self.config.images, self.config.detection
        classes = len(source.class_names)
        if network.is_file:
            return self._build_from_file(source.channels, classes)
        # Starting weights are loaded into it, and the detector has the same layers.
        self._backbone = build_model(network, images, source.channels, classes)
        try:
            return ShuffleNetDetector(
                network.scale,
                classes,
                neck=how.neck,
                width=how.neck_width,
                strides=how.stride_numbers,
                backbone=self._backbone,
            )
        except ValueError as error:
            raise UserError(f"the detector cannot be built: {error}") from None

    def _build_from_file(self, channels: int, classes: int) -> keras.Model:
        path, size = self.config.network.model, self.config.images.input_size
        points = len(self._grid.strides)
        outputs = (None, points, SIDES + classes)
        model = architecture(path, (None, size, size, channels), outputs)
        try:
            found = detector_strides(model)
        except ValueError:
            found = ()
        if found != self.config.detection.all_strides:
            raise UserError(
                f"{path} has points of strides {found}, but the training of "
                f"{self.config.detection.all_strides}; build it with keras_shufflenet.detector."
                "detector_on_maps, and name its --strides"
            )
        return model

    def initialize(self, model: keras.Model, source: batches.BoxSource) -> None:
        """Sets the weights that a new run starts from: a detector's, or the backbone's alone."""
        if self.config.network.weights:
            load_detector_weights(model, self._backbone, self.config, source.class_names)

    def losses(self, images: tf.Tensor, labels: Truth, logits: tf.Tensor) -> tf.Tensor:
        """Returns the loss of every image, float32 [batch].

        Args:
          images: float32 [batch, size, size, channels], normalized.
          labels: the boxes to find.
          logits: float32 [batch, points, 4 + classes], the detector's output.
        """
        losses = detection_losses(logits, labels, self._grid).total
        return self._with_teacher(losses, images, logits)

    def distillation_losses(
        self, teacher: tf.Tensor, student: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        """Returns how far each output is from a teacher's of the same image, float32 [batch]."""
        return distillation_losses(teacher, student, temperature, self._grid)

    def training_batches(
        self,
        config: TrainConfig,
        source: batches.BoxSource,
        start: int,
        context: tf.distribute.InputContext,
    ) -> tf.data.Dataset:
        """Returns the endless stream of (images, truth) after `start` steps."""
        settings = self._settings(source)
        return batches.training_batches(settings, self._augmentation, source, start, context)

    def evaluation_batches(
        self, source: batches.BoxSource, context: tf.distribute.InputContext
    ) -> tf.data.Dataset:
        """Returns every image once, with its number in the set."""
        return batches.numbered_batches(self._settings(source), source, context)

    def _settings(self, source: batches.BoxSource) -> batches.BatchSettings:
        images, optimization = self.config.images, self.config.optimization
        return batches.BatchSettings(
            images.input_size,
            images.input_size,
            optimization.batch_size,
            images.preprocessing,
            source.channels,
            optimization.seed,
        )

    def make_counter(
        self, model: keras.Model, strategy: tf.distribute.Strategy, source: batches.BoxSource
    ) -> Callable[[tuple], list[tuple[int, Detections]]]:
        """Returns a function that finds the boxes of a batch: (number of the image, boxes)."""
        self._found = source.found
        size = self.config.images.input_size
        points = make_points(size, size, self.config.detection.all_strides)

        @tf.function(autograph=False)
        def predict(batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            outputs = strategy.run(
                lambda images, numbers: (model(images, training=False), numbers), args=batch
            )
            return tuple(tf.concat(strategy.experimental_local_results(x), 0) for x in outputs)

        def count(batch: tuple) -> list[tuple[int, Detections]]:
            outputs, numbers = (value.numpy() for value in predict(batch))
            return [
                (int(number), in_image(found, source.found.images[number], size, size))
                for number, found in zip(numbers, detect(outputs, points), strict=True)
                if number >= 0
            ]

        return count

    def summarize(self, batches: Iterable[Any], add: Callable) -> DetectionScores:
        """Returns the average precision on the split, of what all workers found."""
        found = dict(pair for batch in batches for pair in batch)
        count = len(self._found.images)
        precision = precision_of(gathered(found, count, add), self._found)
        return DetectionScores(precision, count)


def check_config(config: TrainConfig) -> None:
    """Raises UserError for settings that would have no effect on a detector, or a wrong one."""
    size, network = config.images.input_size, config.network
    if network.is_file:
        _check_file(config)
    elif not network.is_shufflenet or network.model == "shufflenet_v2_plus":
        raise UserError(
            "--model must be shufflenet_v1, shufflenet_v2 or the .keras file of a detector, got "
            f"{network.model!r}"
        )
    if network.small_images:
        raise UserError(
            "--small_images is for classifiers: a detector needs maps at strides 8, 16 and 32; "
            "leave it out, and name --weights that were trained without it"
        )
    if size % 32:
        raise UserError(f"--input_size must be a multiple of 32 for a detector, got {size}")
    for group, names in _UNUSED.items():
        found = getattr(config, group)
        for name in names:
            default = type(found).__dataclass_fields__[name].default
            if getattr(found, name) != default:
                raise UserError(f"--{name} has no effect on detectors; leave it out")


def _check_file(config: TrainConfig) -> None:
    """Raises UserError for settings of what the file of a whole detector has already."""
    for group, names in {"detection": ("neck", "neck_width"), "network": ("weights",)}.items():
        found = getattr(config, group)
        for name in names:
            if getattr(found, name) == getattr(type(found), name):
                continue
            raise UserError(
                f"--{name} has no effect with --model={config.network.model}, which is a whole "
                "detector and trained from random weights; leave it out"
            )


def open_sources(
    config: DataConfig,
    splits: Sequence[str],
    workdir: str | Path | None = None,
    must_match: bool = False,
    labels: Sequence[str] | None = None,
) -> list[batches.BoxSource]:
    """Opens splits of a data set of boxes, for `trainers.loop.train`.

    Args:
      config: which one, where it is, and the channels to decode.
      splits: their names; for a TFDS name in TFDS's notation.
      workdir: keeps which files cannot be decoded; None: they are looked for again.
      must_match: raise if these are others than before.
      labels: the class names that the data must have, in the order of the outputs; None: any.

    Raises:
      UserError: as in `open_sets`, `write_as_files` and `verify`.
    """
    # `DataConfig` has checked that a folder is named.
    root = config.data_dir if config.dataset == FOLDER else write_as_files(config, splits)
    channels = config.channels or 3

    def find_bad(split: str, images: Sequence[Annotated]) -> Sequence[str]:
        if not config.verify_images:
            return ()
        paths = [image.path for image in images]
        statuses = [file_status(path) for path in paths]
        read, cache = file_reader(paths), record_path(workdir, split)
        boxes = (str(image.boxes) for image in images)
        return verify(paths, statuses, read, channels, cache, must_match, boxes).unreadable

    sets = open_sets(root, splits, labels, find_bad)
    return [batches.box_source(found, channels) for found in sets]
