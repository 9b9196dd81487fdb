"""Everything used of tfmot's private interface; a test fails if a new version changes it.

tfmot's public interface can annotate a layer, but cannot say that nothing else is to be quantized.
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

# What `quantize_apply` wraps an annotated layer in; its name is "quant_" and the layer's name.
Wrapper = QuantizeWrapperV2


class _NoTransform(quantize_layout_transform.QuantizeLayoutTransform):
    """Does not change the layout, which was made for its target."""

    def apply(self, model: Any, layer_quantize_map: Any) -> tuple:
        return model, layer_quantize_map


class _NoRegistry(quantize_registry.QuantizeRegistry):
    """Knows no layer, so that tfmot wraps what is annotated and nothing more."""

    def supports(self, layer: Any) -> bool:
        return False

    def get_quantize_config(self, layer: Any) -> None:
        return None


class AnnotatedAlone(quantize_scheme.QuantizeScheme):
    """Quantizes only what is annotated, as it is annotated: for `quantize_apply(scheme=...)`."""

    def get_layout_transformer(self) -> _NoTransform:
        """Returns a transformer that changes nothing."""
        return _NoTransform()

    def get_quantize_registry(self) -> _NoRegistry:
        """Returns a registry without layers."""
        return _NoRegistry()
