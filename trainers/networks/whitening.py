"""Kernels of the stem computed from the training images, instead of trained ones.

Random kernels mostly respond to the mean of a patch, by far the largest part of a photograph, and
must first learn to respond to details. The principal components of the patches respond to
everything from the start (patch-whitening: Jordan, 2024, "94% on CIFAR-10 in 3.29 seconds",
https://arxiv.org/abs/2404.00498, section 3.2). As in that paper, they are not trained.
"""

import keras
import numpy as np
import tensorflow as tf

from common.cli import UserError
from trainers.data.pipeline import evaluation_batches, reading_errors
from trainers.data.sources import Source
from trainers.settings import DataConfig, ImageConfig

_IMAGES = 1024
# Images at a time; their patches take 170 MB at 224 pixels.
_BATCH = 32
# Share of the largest component's variance below which a component is compression noise.
_NOISE = 1e-4


def stem(model: keras.Model) -> keras.layers.Conv2D:
    """Returns the first convolution of a network.

    Raises:
      UserError: no convolution reads all channels.
    """
    found = next((layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)), None)
    if found is None or found.kernel.shape[2] != model.input_shape[-1]:
        raise UserError("--whiten_stem is for networks that start with an ungrouped convolution")
    return found


def whiten_stem(model: keras.Model, data: DataConfig, images: ImageConfig, source: Source) -> None:
    """Sets half of the first convolution's kernels to principal components, half to the negatives.

    With both signs, nothing is lost after the ReLU. The components are those of patches of the
    kernel's size, largest first, scaled to a variance of about 1. If there are more kernels than
    components, the rest are left unchanged.

    Args:
      model: a network that starts with a convolution.
      data: the training's.
      images: the training's.
      source: the training images, of which a thousand are read.

    Raises:
      UserError: the network has no convolution that reads all channels, or an image cannot be read.

    Examples:
      >>> source = load_source(config.data, config.data.train_split)
      >>> whiten_stem(model, config.data, config.images, source)
    """
    layer = stem(model)
    kernel = layer.kernel.numpy()
    height, width, channels, filters = kernel.shape
    with reading_errors(data.dataset):
        covariance = _patch_covariance(images, source, (height, width))
    found = components(covariance, filters // 2).reshape(height, width, channels, -1)
    pairs = np.concatenate([found, -found], axis=-1)
    kernel[..., : pairs.shape[-1]] = pairs
    layer.kernel.assign(kernel)


def components(covariance: np.ndarray, count: int) -> np.ndarray:
    """Returns the principal components with the largest variances, divided by their square roots.

    Args:
      covariance: float64 [n, n].
      count: number of components, or n if that is less.

    Returns:
      float64 [n, count].
    """
    variances, vectors = np.linalg.eigh(covariance)
    largest = slice(None, -count - 1, -1)
    variances, vectors = variances[largest], vectors[:, largest]
    return vectors / np.sqrt(variances + _NOISE * variances.max())


def _patch_covariance(config: ImageConfig, source: Source, size: tuple[int, int]) -> np.ndarray:
    """Returns the covariance of the pixels in windows of a height and width, [n, n]."""
    count, sums, products = 0, np.float64(0), np.float64(0)
    batches = evaluation_batches(config.as_training_begins(), _BATCH, source)
    for images, _, weights in batches.take(_IMAGES // _BATCH):
        # Images of weight 0 are padding.
        patches = _patches(images[weights > 0], size)
        count += patches.shape[0]
        sums += tf.reduce_sum(patches, 0).numpy().astype(np.float64)
        products += tf.matmul(patches, patches, transpose_a=True).numpy().astype(np.float64)
    mean = sums / count
    return products / count - np.outer(mean, mean)


def _patches(images: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Returns the pixels in all windows, [windows, height x width x channels], as in a kernel."""
    found = tf.image.extract_patches(images, [1, *size, 1], [1] * 4, [1] * 4, "VALID")
    return tf.reshape(found, [-1, found.shape[-1]])
