"""Reading an artifact: a folder of .tflite files, labels, samples and a manifest.

Needs only numpy and LiteRT, because artifacts are also read where TensorFlow does not run.
"""

import os
from pathlib import Path

import numpy as np

from common.cli import UserError
from common.files import sha256
from common.manifest import (
    LABELS,
    MANIFEST,
    ONNX,
    SAMPLES,
    StoredFile,
    read_manifest,
    stored_files,
)
from common.storage.arrays import read_arrays
from common.storage.readers import DamagedError, read_lines
from common.tflite.isolated import IsolatedModel
from common.tflite.litert import LiteRTModel

_REMEDY = "convert the model again"


class Artifact:
    """A verified artifact; make one with `Artifact.open`.

    Attributes:
      folder: its path.
      manifest: the checked manifest as parsed JSON (docs/artifact.md).
      labels: the class names, in the order of the logits.

    Examples:
      >>> artifact = Artifact.open("artifact")
      >>> model = artifact.load("deployment_int8_ptq.tflite")
      >>> images, labels = artifact.samples()
      >>> model.predict(artifact.preprocess(images)).argmax(axis=-1)
    """

    def __init__(self, folder: Path, manifest: dict, labels: list[str]):
        self.folder = folder
        self.manifest = manifest
        self.labels = labels

    @classmethod
    def open(cls, folder: str | os.PathLike) -> "Artifact":
        """Opens an artifact after checking its manifest and the hash of each of its files.

        Raises:
          UserError: something is missing, damaged, altered or unknown; the message names it.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        for stored in stored_files(manifest):
            _verify(folder / stored.name, stored)
        return cls(folder, manifest, _read_labels(folder / LABELS, manifest["classes"]))

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest["name"]

    @property
    def files(self) -> dict[str, dict]:
        """The manifest's entries for the .tflite files, by file name.

        Raises:
          UserError: there are none.
        """
        files = self.manifest["files"].items()
        found = {name: entry for name, entry in files if not name.endswith(ONNX)}
        if not found:
            raise UserError(
                f"{self.folder} has only ONNX files, which LiteRT does not run; convert with "
                "--quantization=int8-ptq too"
            )
        return found

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(batch, height, width, channels); the batch of files for devices is 1."""
        return tuple(self.manifest["input"]["shape"])

    @property
    def resize_size(self) -> int:
        """Pixels that the shorter side of an image is scaled to, before its centre is cut out.

        Raises:
          UserError: the manifest does not say.
        """
        # Artifacts of older versions have it among the training's settings.
        resize = self.manifest["input"].get("resize", {})
        size = resize.get("shorter_side", self.manifest["training"].get("resize_size"))
        if type(size) is not int or size < max(self.input_shape[1:3]):
            raise UserError(
                f"{self.folder / MANIFEST} does not say how images are resized; convert again"
            )
        return size

    def default_file(self) -> str:
        """Returns the name of the file for devices: of the deployment graph, in int8 if it has one.

        Quantization-aware training comes before calibration.
        """

        def order(name: str) -> tuple[bool, int, str]:
            entry = self.files[name]
            rank = {"int8-qat": 0, "int8-ptq": 1}.get(entry["quantization"], 2)
            return entry["graph"] != "deployment", rank, name

        return min(self.files, key=order)

    def path(self, name: str) -> Path:
        """Returns the path of one of the .tflite files.

        Raises:
          UserError: the artifact has no such file; the message lists its files.
        """
        if name in self.manifest["files"] and name.endswith(ONNX):
            raise UserError(f"{name} is for other runtimes than LiteRT (docs/onnx.md)")
        if name not in self.files:
            raise UserError(
                f"{self.folder} has no file {name!r}; it has {', '.join(sorted(self.files))}"
            )
        return self.folder / name

    def load(self, name: str, threads: int = 1, reference_kernels: bool = False) -> LiteRTModel:
        """Loads one of the .tflite files into LiteRT.

        Raises:
          UserError: there is no such file, or its input or output differs from the manifest.
        """
        model = LiteRTModel(self.path(name), threads, reference_kernels)
        self._check_shapes(model)
        return model

    def load_isolated(self, name: str) -> IsolatedModel:
        """Loads one of the .tflite files into another process: hashes say nothing of its origin.

        Raises:
          UserError: as `load`; or the file ended that process, or took too long.
        """
        model = IsolatedModel(self.path(name))
        self._check_shapes(model)
        return model

    def _check_shapes(self, model: LiteRTModel | IsolatedModel) -> None:
        expected = (self.input_shape, (self.input_shape[0], self.manifest["classes"]))
        if (model.input_shape, model.output_shape) != expected:
            raise UserError(
                f"{model.path} maps {model.input_shape} to {model.output_shape}, "
                f"but the manifest says {expected[0]} to {expected[1]}; convert the model again"
            )

    def samples(self, limit: int | None = None) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns the artifact's evaluation images and labels, or None if it has none.

        Args:
          limit: the largest number of images to return; None for all.

        Returns:
          uint8 images [n, height, width, channels], after the evaluation transform, and int32
          labels [n].

        Raises:
          UserError: the file differs from the manifest.
        """
        if self.manifest["samples"] is None:
            return None
        path = self.folder / SAMPLES
        count = self.manifest["samples"]["images"]
        images, labels = _read_samples(path, (count, *self.input_shape[1:]))
        if labels.min() < 0 or labels.max() >= self.manifest["classes"]:
            raise UserError(f"{path} has labels beyond the classes; convert the model again")
        return images[:limit], labels[:limit]

    def preprocess(self, images: np.ndarray) -> np.ndarray:
        """Returns uint8 images as float32 network input: pixel * scale + offset per channel."""
        constants = self.manifest["input"]["preprocessing"]
        scale, offset = (np.float32(constants[key]) for key in ("scale", "offset"))
        return images.astype(np.float32) * scale + offset


def takes_pixels(entry: dict, preprocessing: dict) -> bool:
    """Returns whether an integer input takes pixels 0 to 255 as they are, except for rounding.

    Args:
      entry: a file's `input` in the manifest.
      preprocessing: the manifest's `input.preprocessing`.
    """
    if entry["dtype"] != "uint8":
        return False
    pixels = np.arange(256)[:, np.newaxis]
    inputs = pixels * np.array(preprocessing["scale"]) + np.array(preprocessing["offset"])
    stored = np.clip(np.rint(inputs / entry["scale"]) + entry["zero_point"], 0, 255)
    return bool((np.abs(stored - pixels) <= 1).all())


def _verify(path: Path, stored: StoredFile) -> None:
    # A link could point to an endless device such as /dev/zero; an artifact has plain files only.
    if path.is_symlink() or not path.is_file():
        raise UserError(f"{path} is missing or not a plain file; convert the model again")
    size = path.stat().st_size
    if size != stored.bytes:
        raise UserError(
            f"{path} has {size} bytes, but the manifest says {stored.bytes}: "
            "it is damaged or was changed; convert the model again"
        )
    if sha256(path) != stored.sha256:
        raise UserError(
            f"{path} does not match its hash in the manifest: "
            "it is damaged or was changed; convert the model again"
        )


def _read_labels(path: Path, classes: int) -> list[str]:
    labels = read_lines(path, _REMEDY)
    if len(labels) != classes:
        raise UserError(
            f"{path} has {len(labels)} labels for {classes} classes; convert the model again"
        )
    return labels


def _read_samples(path: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    expected = {"images": (shape, np.uint8), "labels": (shape[:1], np.int32)}
    try:
        images, labels = read_arrays(path, expected, _REMEDY)
    except DamagedError as error:
        raise UserError(f"{path} is unusable ({error.reason}); {_REMEDY}") from error
    return images, labels
