"""Runs one process of a tf.data service, which makes a training's batches on other machines.

A service has one dispatcher, and a server on each machine that makes batches.

Example:
  shufflenet data-server --port=5050 --listen=0.0.0.0
  shufflenet data-server --dispatcher=grpc://10.0.0.5:5050 --host=10.0.0.6 --listen=0.0.0.0
  shufflenet train --data_service=grpc://10.0.0.5:5050 …

Without --listen=0.0.0.0, only this machine can reach the ports. With it, anyone who can reach them
can make this machine compute and read files: use it only inside a network that you trust.
"""

import contextlib
import re
import socket

from absl import flags

from common import cli
from trainers.distribution.loopback import (
    EVERYWHERE,
    LOOPBACK,
    kept_to_this_machine,
    listening_ports,
    warn_of_open_ports,
)
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
    "Name or address under which trainings reach this machine (default: its host name, or "
    "localhost with --listen=127.0.0.1).",
)
_PORT = flags.DEFINE_integer(
    "port", 0, "Port to listen on; 0: any free port.", lower_bound=0, upper_bound=65535
)
_LISTEN = flags.DEFINE_enum(
    "listen",
    LOOPBACK,
    (LOOPBACK, EVERYWHERE),
    f"Who can reach the port: {LOOPBACK}, this machine alone; {EVERYWHERE}, every machine on the "
    "network.",
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

    local = _LISTEN.value == LOOPBACK
    with kept_to_this_machine() if local else contextlib.nullcontext():
        if _DISPATCHER.value is None:
            server = data_service.start_dispatcher(_PORT.value)
            done = f"dispatcher at {server.target}"
        else:
            host = _HOST.value or ("localhost" if local else socket.gethostname())
            server = data_service.start_server(_DISPATCHER.value, host, _PORT.value)
            done = f"serving {_DISPATCHER.value} as {host}"
    print(f"{done}, for {'this machine alone' if local else 'every machine'}", flush=True)
    if not local:
        warn_of_open_ports(sorted(listening_ports()))
    server.join()


def entry_point() -> None:
    """Runs the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
