"""Checkpoints of torchvision's and Megvii's PyTorch codes: into Keras and, torchvision's, back.

`python -m keras_shufflenet.checkpoints` inspects and converts files (docs/checkpoints.md). The
networks import this package for their `weights` argument, so that what builds networks from
checkpoints is imported when it is asked for.
"""

import importlib
from typing import Any

_FROM_NETWORKS = ("Description", "describe", "load_checkpoint", "save_torchvision")


def __getattr__(name: str) -> Any:
    if name not in _FROM_NETWORKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.networks"), name)
