"""PyTorch checkpoints of torchvision's and Megvii's code: into Keras; torchvision's also back.

`python -m keras_shufflenet.checkpoints` inspects and converts files (docs/checkpoints.md). The
networks import this package for their `weights` argument, so the functions that build networks
from checkpoints are imported only when they are used.
"""

import importlib
from typing import Any

_FROM_NETWORKS = ("Description", "describe", "load_checkpoint", "save_torchvision")


def __getattr__(name: str) -> Any:
    if name not in _FROM_NETWORKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.networks"), name)
