"""Runs a part of a tf.data service: one dispatcher, and a server on each machine that is to help.

Example:
  python -m trainers.data_server --port=5050
  python -m trainers.data_server --dispatcher=grpc://10.0.0.5:5050 --host=10.0.0.6
  python -m trainers.train --data_service=grpc://10.0.0.5:5050 …

Whoever reaches the ports can have this machine compute and read files: keep them inside a network
that you trust.
"""

import re
import socket

from absl import flags

from common import cli
from trainers.settings import DATA_SERVICE
from trainers.startup import import_tensorflow

_DISPATCHER = flags.DEFINE_string(
    "dispatcher", None, "grpc://HOST:PORT that this server works for; without it: a dispatcher."
)
_HOST = flags.DEFINE_string(
    "host", None, "Name or address of this machine, as trainings reach it (default: its name)."
)
_PORT = flags.DEFINE_integer(
    "port", 0, "To listen on; 0: any free one.", lower_bound=0, upper_bound=65535
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
