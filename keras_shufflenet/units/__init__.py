"""The units of the networks: one small layer each."""

from keras_shufflenet.units.large import ShuffleUnitV2ExLarge, ShuffleUnitV2Large
from keras_shufflenet.units.v1 import ShuffleUnit
from keras_shufflenet.units.v2 import ShuffleUnitV2
from keras_shufflenet.units.v2_plus import ShuffleUnitV2Plus

__all__ = [
    "ShuffleUnit",
    "ShuffleUnitV2",
    "ShuffleUnitV2ExLarge",
    "ShuffleUnitV2Large",
    "ShuffleUnitV2Plus",
]
