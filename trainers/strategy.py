"""Where a training runs: on one device, or the same step mirrored over several."""

import keras
import tensorflow as tf

from trainers.cli import UserError
from trainers.config import TrainConfig


def make_strategy(config: TrainConfig) -> tf.distribute.Strategy:
    """Returns the strategy that the config names; call it before TensorFlow is used.

    Args:
      config: `strategy`, `devices` and `batch_size` matter.

    Raises:
      UserError: more GPUs than there are, or a batch that the devices cannot share evenly.
    """
    if config.strategy == "one":
        return tf.distribute.get_strategy()
    if config.batch_size % config.devices:
        raise UserError(
            f"--batch_size {config.batch_size} cannot be shared by --devices {config.devices}; "
            "make it a multiple"
        )
    return tf.distribute.MirroredStrategy(_devices(config.devices))


def _devices(count: int) -> list[str]:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if count > len(gpus):
            raise UserError(f"--devices {count}: there are {len(gpus)} GPUs; name at most so many")
        return [f"GPU:{index}" for index in range(count)]
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )
    return [f"CPU:{index}" for index in range(count)]


def synchronize_batch_norms(model: keras.Model, synchronized: bool) -> None:
    """Makes every BatchNormalization use the statistics of the batch over all devices, or not.

    Without it each replica of Keras 3 keeps its own moving statistics, and they drift apart.
    """
    for layer in batch_norms(model):
        layer.synchronized = synchronized


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Returns every BatchNormalization of a network, in order."""
    # Private, but the only way to layers inside of layers, where the units keep theirs.
    layers = model._flatten_layers()
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
