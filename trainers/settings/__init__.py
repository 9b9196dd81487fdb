"""Every setting of a training: what it means, its default, its bounds and its choices.

There is one group of settings for each part of a training; `trainers.config` combines them. Each
setting has a flag of the same name: `shufflenet train --help` explains them.
"""

from trainers.settings.data import (
    DATA_SERVICE,
    FOLDER,
    DataConfig,
    check_split,
)
from trainers.settings.detection import (
    NECKS,
    TASKS,
    DetectionConfig,
    neck_strides,
)
from trainers.settings.images import (
    CROPS,
    MAX_SIDE,
    PREPROCESSINGS,
    AugmentationConfig,
    ImageConfig,
)
from trainers.settings.network import (
    CONVENTIONS,
    MODEL_SUFFIX,
    MODELS,
    PADDINGS,
    SIZES,
    WIDTHS,
    NetworkConfig,
)
from trainers.settings.optimization import (
    CLASS_WEIGHTS,
    MAX_SEED,
    OPTIMIZERS,
    PRECISIONS,
    SCHEDULES,
    OptimizationConfig,
)
from trainers.settings.running import (
    CLUSTERS,
    LOCAL_STRATEGIES,
    STRATEGIES,
    PlacementConfig,
    RecordConfig,
)

__all__ = [
    "FOLDER",
    "DATA_SERVICE",
    "check_split",
    "DataConfig",
    "TASKS",
    "NECKS",
    "DetectionConfig",
    "neck_strides",
    "PREPROCESSINGS",
    "CROPS",
    "MAX_SIDE",
    "ImageConfig",
    "AugmentationConfig",
    "MODELS",
    "SIZES",
    "MODEL_SUFFIX",
    "PADDINGS",
    "CONVENTIONS",
    "WIDTHS",
    "NetworkConfig",
    "SCHEDULES",
    "OPTIMIZERS",
    "CLASS_WEIGHTS",
    "PRECISIONS",
    "MAX_SEED",
    "OptimizationConfig",
    "LOCAL_STRATEGIES",
    "STRATEGIES",
    "CLUSTERS",
    "PlacementConfig",
    "RecordConfig",
]
