"""The deployment graph: read from Keras, rewritten, and emitted for a target.

`converters.graph.register_rule` makes it take a class of layers.
"""

import importlib
from typing import Any

# Loaded when they are used first: Keras takes seconds.
_PLACES = {
    "Call": "converters.graph.rules.registry",
    "RuleError": "converters.graph.rules.registry",
    "deployment_graph": "converters.graph.deployment",
    "register_rule": "converters.graph.rules.registry",
}
__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
