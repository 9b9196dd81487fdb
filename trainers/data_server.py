"""Runs one process of a tf.data service, which makes a training's batches on other machines.

A service has one dispatcher, and a server on each machine that makes batches.

Example:
  shufflenet data-server --port=5050
  shufflenet data-server --dispatcher=grpc://10.0.0.5:5050 --host=10.0.0.6
  shufflenet train --data_service=grpc://10.0.0.5:5050 …

Anyone who can reach the ports can make this machine compute and read files: use them only inside a
network that you trust.
"""

import re
import socket

from absl import flags

from common import cli
from trainers.settings import DATA_SERVICE
from trainers.startup import import_tensorflow

_DISPATCHER = flags.DEFINE_string(
    "dispatcher",
    None,
    "grpc://HOST:PORT of the dispatcher that this server works for; default: be the dispatcher.",
)
_HOST = flags.DEFINE_string(
    "host",
    None,
    "Name or address under which trainings reach this machine (default: its host name).",
)
_PORT = flags.DEFINE_integer(
    "port", 0, "Port to listen on; 0: any free port.", lower_bound=0, upper_bound=65535
)
flags.register_validator(
    "dispatcher",
    lambda value: value is None or re.fullmatch(DATA_SERVICE, value),
    message="must look like grpc://HOST:PORT",
)


def main() -> None:
    """Starts the server and waits until it is stopped."""
    import_tensorflow()
    from trainers.data import data_service

    if _DISPATCHER.value is None:
        server = data_service.start_dispatcher(_PORT.value)
        print(f"dispatcher at {server.target}", flush=True)
    else:
        host = _HOST.value or socket.gethostname()
        server = data_service.start_server(_DISPATCHER.value, host, _PORT.value)
        print(f"serving {_DISPATCHER.value} as {host}", flush=True)
    server.join()


def entry_point() -> None:
    """Runs the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
