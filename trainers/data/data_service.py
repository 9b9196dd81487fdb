"""tf.data service: input pipelines on other machines, for trainings that wait for their own CPUs.

A dispatcher assigns the places of the training stream to servers, which decode and augment the
images at these places. Every image of an epoch is used once, but in the order in which servers
finish. With a data service, runs are therefore not bit-identical, and a resumed run reads a few
batches twice or not at all. Servers must see the images under the same paths as the training.
"""

import functools
import socket

import tensorflow as tf

from common.cli import UserError
from trainers.distribution.loopback import kept_to_this_machine

# Instead of an address: a dispatcher and servers in this process, to try it.
LOCAL = "local"
PROTOCOL = "grpc"
_PREFIX = f"{PROTOCOL}://"
_LOCAL_SERVERS = 2
_PATIENCE = 10.0  # seconds


def distribute(batches: tf.data.Dataset, address: str) -> tf.data.Dataset:
    """Returns the same batches in another order, made by the servers of a data service.

    Args:
      batches: an endless stream that starts with `tf.data.Dataset.range`.
      address: grpc://HOST:PORT of a dispatcher, or "local".

    Raises:
      UserError: nothing answers at the address.

    Examples:
      >>> batches = distribute(batches, "grpc://10.0.0.5:5050")
    """
    if address == LOCAL:
        address = _local_dispatcher()
    _check_reachable(address)
    return batches.apply(
        tf.data.experimental.service.distribute(
            processing_mode=tf.data.experimental.service.ShardingPolicy.DYNAMIC, service=address
        )
    )


def start_dispatcher(port: int) -> tf.data.experimental.service.DispatchServer:
    """Starts a dispatcher in this process; port 0 is any free port."""
    config = tf.data.experimental.service.DispatcherConfig(port=port, protocol=PROTOCOL)
    return tf.data.experimental.service.DispatchServer(config)


def start_server(
    dispatcher: str, host: str, port: int
) -> tf.data.experimental.service.WorkerServer:
    """Starts a server of a data service in this process.

    Args:
      dispatcher: grpc://HOST:PORT.
      host: name or address under which trainings reach this machine.
      port: port to listen on; 0 is any free port.

    Raises:
      UserError: nothing answers at the dispatcher's address.
    """
    _check_reachable(dispatcher)
    # "%port%" is replaced by the port that was found.
    config = tf.data.experimental.service.WorkerConfig(
        dispatcher_address=dispatcher.removeprefix(_PREFIX),
        worker_address=f"{host}:%port%" if port == 0 else f"{host}:{port}",
        port=port,
        protocol=PROTOCOL,
    )
    return tf.data.experimental.service.WorkerServer(config)


@functools.cache
def _local_service() -> tuple:
    """Starts a dispatcher and servers for this machine, which live as long as this process."""
    with kept_to_this_machine():
        dispatcher = start_dispatcher(0)
        servers = [start_server(dispatcher.target, "localhost", 0) for _ in range(_LOCAL_SERVERS)]
    return dispatcher, servers


def _local_dispatcher() -> str:
    return _local_service()[0].target


def _check_reachable(address: str) -> None:
    """Raises UserError now, because TensorFlow would try for an hour."""
    host, _, port = address.removeprefix(_PREFIX).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except OSError as error:
        raise UserError(
            f"no data service answers at {address} ({error}); start one with shufflenet "
            "data-server, or omit --data_service"
        ) from None
