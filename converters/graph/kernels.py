"""What the graph's operators compute from kernels and windows."""

import keras
import numpy as np

from keras_shufflenet.layers import ungrouped_kernel

# The window of ShuffleNet's pools, in pixels per direction, and their stride.
WINDOW, STRIDE = 3, 2


def permuted_kernel(
    kernel: np.ndarray, inputs: np.ndarray, outputs: np.ndarray, groups: int, name: str
) -> np.ndarray:
    """Returns a (grouped) kernel for an input whose channels have the order `inputs`."""
    if groups == 1:
        return kernel[:, :, inputs, :][..., outputs]
    per_group = kernel.shape[2]
    blocks = inputs.reshape(groups, per_group)
    out_blocks = outputs.reshape(groups, -1)
    pieces = []
    for group, (block, out_block) in enumerate(zip(blocks, out_blocks, strict=True)):
        if set(block // per_group) != {group} or set(out_block // len(out_block)) != {group}:
            raise ValueError(f"{name}: the order of the channels crosses its groups")
        pieces.append(kernel[:, :, block - group * per_group, :][..., out_block])
    return np.concatenate(pieces, axis=-1)


def dense_kernel(kernel: np.ndarray, groups: int) -> np.ndarray:
    """Returns the ungrouped kernel equal to a grouped one: block-diagonal, zeros elsewhere."""
    if groups == 1:
        return kernel
    # Adding 0 makes -0 a plain zero.
    return keras.ops.convert_to_numpy(ungrouped_kernel(kernel, groups)) + 0


def window_factors(extent: int) -> tuple[float, ...]:
    """Returns 3 / the number of pixels inside the image for every window along one direction.

    Args:
      extent: pixels of the image in that direction; padded as TensorFlow's "same" does.
    """
    starts = STRIDE * np.arange(-(-extent // STRIDE))
    # Both ends have the same padding, or the last end one more.
    starts -= (starts[-1] + WINDOW - extent) // 2
    inside = np.minimum(starts + WINDOW, extent) - np.maximum(starts, 0)
    return tuple(float(factor) for factor in WINDOW / inside)
