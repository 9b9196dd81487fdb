"""From a trained model to files that devices run.

`converters.convert(model, "artifact", images, labels)` writes .tflite files that are checked
against the model; `converters.deployment_graph(model)` returns the rewritten network, and
`converters.quantization_aware(model, images)` the same with int8 rounding in it, to train it.
"""

import importlib
from typing import Any

# Loaded when they are used first: TensorFlow takes seconds.
_PLACES = {
    "Conversion": "converters.conversion.api",
    "QuantizationOptions": "converters.quantization.options",
    "convert": "converters.conversion.api",
    "deployment_graph": "converters.graph.deployment",
    "quantization_aware": "converters.quantization.aware",
}
__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    try:
        # The rooms, such as `converters.graph`.
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return __all__
