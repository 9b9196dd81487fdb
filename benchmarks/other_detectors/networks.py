"""The detectors that are compared: ours, and others with the files that they are published as."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np

from converters.random_weights import SEED, random_network
from keras_shufflenet import ShuffleNetDetector

# COCO's, which all the others find.
CLASSES = 80
# Of the raw outputs: the scale of a trained detector's logits.
_DEVIATION = 2.0
_BLUE_GREEN_RED = slice(None, None, -1)


@dataclass(frozen=True)
class Ours:
    """A detector of this package: arguments of `ShuffleNetDetector`.

    Attributes:
      scale: of the backbone, ShuffleNetV2.
      neck: "pan", "fpn" or "fused".
      pixels: height and width of its input.
    """

    scale: float
    neck: str
    pixels: int


@dataclass(frozen=True)
class Theirs:
    """A detector of others.

    Attributes:
      title: its name for readers.
      pixels: height and width of its input.
      counterpart: the key in `OURS` of what it is compared with: no smaller an input, and no more
        multiply-adds.
      mean, deviation: of the channels blue, green and red, from pixels of 0 to 255.
      files: by format, "onnx", "ncnn" or "tflite", the file's name.
    """

    title: str
    pixels: int
    counterpart: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    files: Mapping[str, str]

    def preprocess(self, crops: np.ndarray) -> np.ndarray:
        """Returns RGB pixels [n, height, width, 3] as the network gets them, float32."""
        pixels = crops[..., _BLUE_GREEN_RED].astype(np.float32)
        return (pixels - np.float32(self.mean)) / np.float32(self.deviation)


OURS = {
    "v2-0.5x-pan": Ours(0.5, "pan", 320),
    "v2-1x-pan": Ours(1.0, "pan", 320),
    # FastestDet's input, and no more multiply-adds than FastestDet has.
    "v2-0.5x-fpn": Ours(0.5, "fpn", 352),
}
THEIRS = {
    "nanodet-m": Theirs(
        title="NanoDet-m",
        pixels=320,
        counterpart="v2-1x-pan",
        mean=(103.53, 116.28, 123.675),
        deviation=(57.375, 57.12, 58.395),
        files={"onnx": "nanodet.onnx", "ncnn": "nanodet-m.param"},
    ),
    "fastestdet": Theirs(
        title="FastestDet",
        pixels=352,
        counterpart="v2-0.5x-fpn",
        mean=(0.0, 0.0, 0.0),
        deviation=(255.0, 255.0, 255.0),
        files={"onnx": "FastestDet.onnx", "ncnn": "FastestDet.param"},
    ),
    # Its order of the channels is another, which changes no time.
    "ssd-mobilenet-v1": Theirs(
        title="SSD-MobileNet v1, uint8",
        pixels=300,
        counterpart="v2-1x-pan",
        mean=(127.5, 127.5, 127.5),
        deviation=(127.5, 127.5, 127.5),
        files={"tflite": "detect.tflite"},
    ),
}


def build(ours: Ours) -> keras.Model:
    """Returns a detector with random weights that are the same every time.

    Its last layer is not a fresh one, which predicts the same everywhere: no check of what a
    runtime computes could fail.

    Examples:
      >>> model = build(OURS["v2-0.5x-pan"])
    """
    shape = (ours.pixels, ours.pixels, 3)
    arguments = {"scale": ours.scale, "neck": ours.neck, "input_shape": shape, "classes": CLASSES}
    model = random_network(functools.partial(ShuffleNetDetector, **arguments))
    predict = model.get_layer("predictions")
    kernel, bias = predict.get_weights()
    rng = np.random.default_rng(SEED)
    spread = _DEVIATION / np.sqrt(kernel.shape[-2])
    predict.set_weights([rng.normal(0, spread, kernel.shape), np.zeros_like(bias)])
    return model
