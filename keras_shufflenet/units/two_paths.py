"""What all units have in common: a shortcut and a main path, merged."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_shufflenet.layers import (
    PADDINGS,
    CompositeLayer,
    InnerLayer,
    call_chain,
    check_choice,
    check_positive_int,
    walk_chain,
)

STRIDES = (1, 2)


class TwoPathUnit(CompositeLayer):
    """Base class of the units: a shortcut and a main path, merged.

    A unit defines its `shortcut`, `main_path` and `merge` as lists of layers; `split` is the layer
    that gives each path its input, or None if both paths take the whole input. Some add the main
    path's input to its output: `residual`.
    """

    def __init__(self, filters: int, stride: int, padding: str, **kwargs: Any):
        check_positive_int("filters", filters)
        check_choice("stride", stride, STRIDES)
        check_choice("padding", padding, PADDINGS)
        super().__init__(**kwargs)
        self.filters = filters
        self.stride = stride
        self.padding = padding
        self.split: keras.layers.Layer | None = None

    def shortcut(self) -> list[keras.layers.Layer]:
        """Returns the layers of the shortcut, in order; an empty list for the identity."""
        raise NotImplementedError

    def main_path(self) -> list[keras.layers.Layer]:
        """Returns the layers of the main path, in order."""
        raise NotImplementedError

    def residual(self) -> list[keras.layers.Layer]:
        """Returns the layers after the main path, in order; the first takes [its input, output]."""
        return []

    def merge(self) -> list[keras.layers.Layer]:
        """Returns the layers after both paths, in order; the first takes [shortcut, main]."""
        raise NotImplementedError

    def inner_layers(self, input_shape: Sequence[int | None]) -> Iterator[InnerLayer]:
        """Yields the layers of both paths and of the merge with their shapes."""
        shapes = [tuple(input_shape)] * 2
        if self.split is not None:
            shapes = yield from walk_chain([self.split], tuple(input_shape))
        shortcut_shape = yield from walk_chain(self.shortcut(), shapes[0])
        main_shape = yield from walk_chain(self.main_path(), shapes[1])
        if self.residual():
            main_shape = yield from walk_chain(self.residual(), [shapes[1], main_shape])
        yield from walk_chain(self.merge(), [shortcut_shape, main_shape])

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the merged paths; `training` reaches BatchNormalization by the call context."""
        left, right = (inputs, inputs) if self.split is None else self.split(inputs)
        main = call_chain(self.main_path(), right)
        if self.residual():
            main = call_chain(self.residual(), [right, main])
        return call_chain(self.merge(), [call_chain(self.shortcut(), left), main])

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple:
        """Returns the output's shape; both paddings round a halved size up."""
        batch, height, width, _ = input_shape
        if self.stride == 2:
            height = None if height is None else (height + 1) // 2
            width = None if width is None else (width + 1) // 2
        return (batch, height, width, self.filters)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments that all units have."""
        names = ("filters", "stride", "padding")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _relu(self, name: str) -> keras.layers.ReLU:
        return keras.layers.ReLU(name=name, dtype=self.dtype_policy)

    def _pad(
        self, name: str, kernel_size: int = 3, stride: int | None = None
    ) -> keras.layers.ZeroPadding2D | None:
        # TensorFlow's "same" pads an even size only at its end, PyTorch pads both sides by 1: with
        # stride 2 the windows are then at other positions, and imported weights would see shifted
        # images. With stride 1 both are equal, and a separate padding operator would waste time.
        if self._window_padding(stride) == "same":
            return None
        return keras.layers.ZeroPadding2D(kernel_size // 2, name=name, dtype=self.dtype_policy)

    def _window_padding(self, stride: int | None = None) -> str:
        return "same" if self.padding == "same" or (stride or self.stride) == 1 else "valid"

    def _depthwise(
        self, name: str, kernel_size: int = 3, stride: int | None = None
    ) -> keras.layers.DepthwiseConv2D:
        return keras.layers.DepthwiseConv2D(
            kernel_size,
            stride or self.stride,
            padding=self._window_padding(stride),
            use_bias=False,
            name=name,
            dtype=self.dtype_policy,
        )


def existing(layers: Sequence[keras.layers.Layer | None]) -> list[keras.layers.Layer]:
    """Returns the layers without those that are None."""
    return [layer for layer in layers if layer is not None]
