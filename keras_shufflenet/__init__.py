"""ShuffleNet V1, V2 and what followed them, for Keras 3 on any backend.

`keras_shufflenet.complexity.complexity` counts what a network costs. That module is not imported
here, so that `python -m keras_shufflenet.complexity` runs it only once.
"""

from keras_shufflenet.detector import ShuffleNetDetector, detector_strides
from keras_shufflenet.features import features
from keras_shufflenet.layers import ChannelShuffle, ChannelSplit, HardSqueezeExcite, SqueezeExcite
from keras_shufflenet.loading import load_model
from keras_shufflenet.preprocessing import (
    decode_predictions,
    preprocess_input,
    preprocessing_of,
)
from keras_shufflenet.shufflenet_v1 import ShuffleNetV1
from keras_shufflenet.shufflenet_v2 import ShuffleNetV2
from keras_shufflenet.shufflenet_v2_large import ShuffleNetV2Large
from keras_shufflenet.shufflenet_v2_plus import ShuffleNetV2Plus
from keras_shufflenet.units import (
    ShuffleUnit,
    ShuffleUnitV2,
    ShuffleUnitV2ExLarge,
    ShuffleUnitV2Large,
    ShuffleUnitV2Plus,
)

__version__ = "0.1.0"

__all__ = [
    "ShuffleNetV1",
    "ShuffleNetV2",
    "ShuffleNetV2Large",
    "ShuffleNetV2Plus",
    "ShuffleNetDetector",
    "ShuffleUnit",
    "ShuffleUnitV2",
    "ShuffleUnitV2ExLarge",
    "ShuffleUnitV2Large",
    "ShuffleUnitV2Plus",
    "ChannelShuffle",
    "ChannelSplit",
    "HardSqueezeExcite",
    "SqueezeExcite",
    "detector_strides",
    "features",
    "load_model",
    "preprocess_input",
    "preprocessing_of",
    "decode_predictions",
]
