"""Reading an artifact: a folder of .tflite files, labels, samples and a manifest.

Needs only numpy and LiteRT, because artifacts are also read where TensorFlow does not run.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from common.cli import UserError
from common.detection import truth_arrays
from common.detection.average_precision import Truth
from common.detection.decoding import Decoding
from common.files import sha256
from common.manifest import (
    CLASSIFICATION,
    DETECTION,
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
from common.tflite.litert import LiteRTModel, LiteRTNetwork

_REMEDY = "convert the model again"
_Network = TypeVar("_Network", bound=LiteRTNetwork)


class Artifact:
    """A verified artifact; make one with `Artifact.open`.

    Attributes:
      folder: its path.
      manifest: the checked manifest as parsed JSON (docs/artifact.md).
      labels: the class names, in the order of the logits; empty if there are none.

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
        if manifest["labels"] is None:
            return cls(folder, manifest, [])
        labels = read_lines(folder / LABELS, _REMEDY)
        classes = _classes(manifest)
        if classes is not None and len(labels) != classes:
            raise UserError(
                f"{folder / LABELS} has {len(labels)} labels for {classes} classes; {_REMEDY}"
            )
        return cls(folder, manifest, labels)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest["name"]

    @property
    def task(self) -> str:
        """What the outputs mean: "classification", "detection" or "other"."""
        return self.manifest["task"]

    @property
    def decoding(self) -> Decoding:
        """How a detector's output becomes boxes.

        Raises:
          UserError: the artifact is of no detector.
        """
        if self.task != DETECTION:
            raise UserError(
                f"{self.folder} is not of a detector (its task: {self.task}); name another artifact"
            )
        return Decoding.read(self.manifest["decode"])

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
    def image_input(self) -> dict:
        """The manifest's entry of the only input, which takes the pixels of an image.

        Raises:
          UserError: there are several inputs, or the input is no image.
        """
        first, *others = self.manifest["inputs"]
        if others or first["preprocessing"] is None:
            names = ", ".join(fields["name"] for fields in self.manifest["inputs"])
            raise UserError(
                f"{self.folder} is of a network that does not take one image (its inputs: "
                f"{names}); name the artifact of an image network"
            )
        return first

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(batch, height, width, channels); the batch of files for devices is 1.

        Raises:
          UserError: there are several inputs, or the input is no image.
        """
        return tuple(self.image_input["shape"])

    @property
    def resize_size(self) -> int:
        """Pixels that the shorter side of an image is scaled to, before its centre is cut out.

        Raises:
          UserError: the manifest does not say.
        """
        # Artifacts of older versions have it among the training's settings.
        resize, training = self.image_input.get("resize"), self.manifest["training"]
        size = training.get("resize_size") if resize is None else resize.get("shorter_side")
        if type(size) is not int or size < max(self.input_shape[1:3]):
            raise UserError(
                f"{self.folder / MANIFEST} does not say how images are resized; convert again"
            )
        return size

    def check_classifier(self) -> None:
        """Raises UserError unless the artifact is of a classifier of images."""
        if self.task != CLASSIFICATION:
            raise UserError(
                f"{self.folder} is not of a classifier (its task: {self.task}), so it names no "
                "classes; convert the model with labels, or name another artifact"
            )
        _ = self.image_input

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
        """Loads one of the .tflite files, of one input and one output, into LiteRT.

        Raises:
          UserError: there is no such file, or its input or output differs from the manifest.
        """
        return self._checked(LiteRTModel(self.path(name), threads, reference_kernels))

    def load_network(self, name: str, reference_kernels: bool = False) -> LiteRTNetwork:
        """Loads one of the .tflite files, of any number of inputs and outputs, into LiteRT.

        Raises:
          UserError: as for `load`.
        """
        return self._checked(LiteRTNetwork(self.path(name), reference_kernels=reference_kernels))

    def load_isolated(self, name: str) -> IsolatedModel:
        """Loads one of the .tflite files into another process: hashes say nothing of its origin.

        Raises:
          UserError: as for `load`; or the file ended that process, or took too long.
        """
        model = IsolatedModel(self.path(name))
        self._check_shapes(model.path, [[model.input_shape], [model.output_shape]])
        return model

    def _checked(self, network: _Network) -> _Network:
        ends = (network.inputs, network.outputs)
        self._check_shapes(network.path, [[tensor.shape for tensor in end] for end in ends])
        return network

    def _check_shapes(self, path: Path, found: list[list[tuple[int, ...]]]) -> None:
        expected = [
            [tuple(fields["shape"]) for fields in self.manifest[end]]
            for end in ("inputs", "outputs")
        ]
        if found != expected:
            (found, expected) = (
                " to ".join(", ".join(map(str, end)) for end in ends) for ends in (found, expected)
            )
            raise UserError(f"{path} maps {found}, but the manifest says {expected}; {_REMEDY}")

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
        arrays = self.sample_arrays(("images", "labels"), limit)
        return None if arrays is None else (arrays[0], arrays[1])

    def sample_labels(self) -> np.ndarray | None:
        """Returns the classes of the samples, int32 [n], or None if they are not known.

        Raises:
          UserError: the file differs from the manifest, or has other classes.
        """
        arrays = self.sample_arrays(("labels",))
        return None if arrays is None else arrays[0]

    def sample_truths(self, limit: int | None = None) -> list[Truth] | None:
        """Returns the boxes of a detector's samples, or None if they are not known.

        Args:
          limit: the largest number of samples; None for all.

        Returns:
          For each sample its boxes in pixels of the network's input.

        Raises:
          UserError: the file differs from the manifest, or has boxes that cannot be.
        """
        found = self.sample_arrays(truth_arrays.ARRAYS, limit)
        if found is None:
            return None
        arrays = dict(zip(truth_arrays.ARRAYS, found, strict=True))
        try:
            return truth_arrays.unpack(arrays, self.decoding.classes)
        except ValueError as error:
            raise UserError(f"{self.folder / SAMPLES} has {error}; {_REMEDY}") from error

    def sample_arrays(
        self, names: Sequence[str], limit: int | None = None
    ) -> list[np.ndarray] | None:
        """Returns arrays of samples.npz, each [n, ...], or None if it lacks one of them.

        Args:
          names: such as "images", "labels", "input_0" or "output_0" (docs/artifact.md).
          limit: the largest number of samples to return; None for all.

        Raises:
          UserError: the file differs from the manifest.
        """
        samples = self.manifest["samples"]
        if samples is None or not set(names) <= samples["arrays"].keys():
            return None
        expected = {
            name: ((samples["images"], *fields["shape"]), np.dtype(fields["dtype"]))
            for name, fields in samples["arrays"].items()
            if name in names
        }
        path = self.folder / SAMPLES
        try:
            found = dict(zip(expected, read_arrays(path, expected, _REMEDY), strict=True))
        except DamagedError as error:
            raise UserError(f"{path} is unusable ({error.reason}); {_REMEDY}") from error
        if "labels" in found and len(self.labels):
            labels = found["labels"]
            if labels.min() < 0 or labels.max() >= len(self.labels):
                raise UserError(f"{path} has labels beyond the classes; {_REMEDY}")
        return [found[name][:limit] for name in names]

    def preprocess(self, images: np.ndarray, index: int = 0) -> np.ndarray:
        """Returns uint8 images as float32 network input: pixel * scale + offset per channel.

        Args:
          images: [n, height, width, channels]; samples of another type than uint8, or of an input
            that takes no pixels, are values already.
          index: of the input.
        """
        constants = self.manifest["inputs"][index]["preprocessing"]
        if constants is None or images.dtype != np.uint8:
            return images.astype(np.float32)
        scale, offset = (np.float32(constants[key]) for key in ("scale", "offset"))
        return images.astype(np.float32) * scale + offset


def _classes(manifest: dict) -> int | None:
    """Returns how many class names there must be; None: any number."""
    if manifest["task"] == DETECTION:
        return manifest["decode"]["classes"]
    is_classifier = manifest["task"] == CLASSIFICATION
    return manifest["outputs"][0]["shape"][-1] if is_classifier else None


def takes_pixels(entry: dict, preprocessing: dict | None) -> bool:
    """Returns whether an integer input takes pixels 0 to 255 as they are, except for rounding.

    Args:
      entry: one of a file's `inputs` in the manifest.
      preprocessing: of the input in the manifest; None if it takes no pixels.
    """
    if entry["dtype"] != "uint8" or preprocessing is None:
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
