"""Where a training runs: on one device, or with the same step mirrored on several."""

import urllib.error

import keras
import tensorflow as tf

from common.cli import UserError
from keras_shufflenet.keras_internals import flat_layers
from trainers.distribution.cluster import ALONE, Cluster
from trainers.distribution.loopback import (
    is_loopback,
    kept_to_this_machine,
    listening_ports,
    warn_of_open_ports,
)
from trainers.settings import PlacementConfig


def make_strategy(
    config: PlacementConfig, batch_size: int, variants: int = 1, cluster: Cluster = ALONE
) -> tf.distribute.Strategy:
    """Returns the strategy that the config names; call it before TensorFlow is used.

    Args:
      config: where to run.
      batch_size: over all devices.
      variants: number of variants of each image in a batch; one worker reads all of them.
      cluster: the workers of `strategy="multiworker"`; this call waits for all of them.

    Raises:
      UserError: fewer GPUs than asked for, no TPU, or a batch that the devices cannot share evenly.
    """
    if config.strategy == "mirrored":
        # Before the CPU is divided into devices, which cannot be undone.
        _check_batch(batch_size, variants, config.devices, 1)
    strategy = _MAKERS[config.strategy](config, cluster)
    _check_batch(batch_size, variants, strategy.num_replicas_in_sync, cluster.size)
    return strategy


def _one(unused_config: PlacementConfig, unused_cluster: Cluster) -> tf.distribute.Strategy:
    return tf.distribute.get_strategy()


def _mirrored(config: PlacementConfig, unused_cluster: Cluster) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(_devices(config.devices))


def _multiworker(unused_config: PlacementConfig, cluster: Cluster) -> tf.distribute.Strategy:
    def make() -> tf.distribute.Strategy:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=cluster.resolver)

    resolver = cluster.resolver
    own = resolver.cluster_spec().task_address(resolver.task_type, resolver.task_id)
    if is_loopback(own):
        with kept_to_this_machine():
            return make()
    strategy = make()
    warn_of_open_ports(sorted(listening_ports()))
    return strategy


def _tpu(config: PlacementConfig, unused_cluster: Cluster) -> tf.distribute.Strategy:
    """Not run by any test, because no TPU was available."""
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=config.tpu)
        # A TPU in this machine needs no connection to another machine.
        if config.tpu != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, tf.errors.OpError, urllib.error.URLError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"--tpu={config.tpu} was not found ({type(error).__name__}: {reason}); name the TPU, "
            "or 'local' on a machine that has one"
        ) from None


_MAKERS = {"one": _one, "mirrored": _mirrored, "multiworker": _multiworker, "tpu": _tpu}


def _check_batch(batch_size: int, variants: int, devices: int, workers: int) -> None:
    if batch_size % devices:
        raise UserError(
            f"--batch_size {batch_size} cannot be divided between {devices} devices; use a multiple"
        )
    if batch_size // workers % variants:
        raise UserError(
            f"--repeated_augmentation {variants} does not divide a worker's share of --batch_size, "
            f"{batch_size // workers}; change one of them"
        )


def _devices(count: int) -> list[str]:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if count > len(gpus):
            raise UserError(
                f"--devices {count} is more than this machine's {len(gpus)} GPUs; "
                f"name at most {len(gpus)}"
            )
        return [f"GPU:{index}" for index in range(count)]
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )
    return [f"CPU:{index}" for index in range(count)]


def trains_on_cpus() -> bool:
    """Returns whether TensorFlow computes on CPUs alone; with a GPU or a TPU, it uses that."""
    return not any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))


def synchronize_batch_norms(model: keras.Model, synchronized: bool) -> None:
    """Sets whether every BatchNormalization uses the batch statistics of all devices.

    Otherwise each replica of Keras 3 keeps its own moving statistics, and they diverge.
    """
    for layer in batch_norms(model):
        layer.synchronized = synchronized


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Returns every BatchNormalization layer of a network, in order."""
    layers = flat_layers(model)
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


def moments_over_devices(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns mean and variance of the batch over all devices, in one all-reduce.

    `keras.ops.moments(synchronized=True)` gives the same numbers with three all-reduces. One of
    them adds up the numbers of images, but these are known to be equal on all devices. Call it in
    a replica.

    Args:
      x: float [batch, height, width, channels].

    Returns:
      Two tensors [channels].
    """
    sums = tf.stack([tf.reduce_sum(x, (0, 1, 2)), tf.reduce_sum(tf.square(x), (0, 1, 2))])
    sums, count = sum_over_devices(sums, tf.reduce_prod(tf.shape(x)[:-1]))
    mean, square = tf.unstack(sums / count)
    return mean, tf.maximum(square - tf.square(mean), 0)


def sum_over_devices(sums: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the sums over all devices, and the number of their addends, in the sums' dtype.

    All devices have equally many addends, so their numbers are not added up. Call it in a replica.

    Args:
      sums: float, of this device.
      count: int32 scalar, number of addends on this device.
    """
    context = tf.distribute.get_replica_context()
    total = tf.cast(count * context.num_replicas_in_sync, sums.dtype)
    return context.all_reduce(tf.distribute.ReduceOp.SUM, sums), total
