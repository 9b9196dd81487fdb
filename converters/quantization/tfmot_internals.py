"""All that is used of tfmot's private interface; a test says so when a new version changes it.

tfmot exports how a layer is annotated, and not how to say that nothing else is to be quantized.
"""

from typing import Any

from tensorflow_model_optimization.python.core.quantization.keras import (
    quantize_layout_transform,
    quantize_registry,
    quantize_scheme,
)
from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import (
    QuantizeWrapperV2,
)

# What `quantize_apply` makes of an annotated layer; it is called "quant_" and the layer's name.
Wrapper = QuantizeWrapperV2


class _NoTransform(quantize_layout_transform.QuantizeLayoutTransform):
    """Leaves the layout alone: it was made for its target."""

    def apply(self, model: Any, layer_quantize_map: Any) -> tuple:
        return model, layer_quantize_map


class _NoRegistry(quantize_registry.QuantizeRegistry):
    """Knows no layer, so that tfmot wraps what is annotated and nothing more."""

    def supports(self, layer: Any) -> bool:
        return False

    def get_quantize_config(self, layer: Any) -> None:
        return None


class AnnotatedAlone(quantize_scheme.QuantizeScheme):
    """Quantizes what is annotated, as it is annotated: for `quantize_apply(scheme=...)`."""

    def get_layout_transformer(self) -> _NoTransform:
        """Returns a transformer that changes nothing."""
        return _NoTransform()

    def get_quantize_registry(self) -> _NoRegistry:
        """Returns a registry without layers."""
        return _NoRegistry()
