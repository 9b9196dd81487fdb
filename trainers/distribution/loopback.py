"""Keeps TensorFlow's servers to this machine: they listen on all interfaces, whatever is asked.

Whoever can reach such a port can make the process compute and read files.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# What --listen can be: TensorFlow has no way to choose one interface.
LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"
_LISTENING = "0A"
_TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
_SO_BINDTODEVICE = 25  # Python has no name for it outside Linux.


def is_loopback(address: str) -> bool:
    """Returns whether an address, HOST:PORT, is of this machine alone."""
    host = address.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")


@contextlib.contextmanager
def kept_to_this_machine() -> Iterator[None]:
    """Restricts the ports that servers in the block listen on to the loopback interface.

    Prints a warning where the system cannot do that (it takes Linux 5.7).

    Examples:
      >>> with kept_to_this_machine():
      ...     server = tf.data.experimental.service.DispatchServer()
    """
    before = listening_ports()
    yield
    new = {port: fd for port, fd in listening_ports().items() if port not in before}
    unrestricted = sorted(port for port, descriptor in new.items() if not _restrict(descriptor))
    if unrestricted or not Path(_TABLES[0]).exists():
        warn_of_open_ports(unrestricted)


def warn_of_open_ports(ports: Sequence[int]) -> None:
    """Says on stderr who can reach TensorFlow's ports; none: they are not known."""
    print(
        "warning: TensorFlow listens on all network interfaces "
        f"(ports {', '.join(map(str, ports)) or 'unknown'}): whoever reaches them can make this "
        "process compute and read files; use a network that you trust, or a firewall",
        file=sys.stderr,
        flush=True,
    )


def listening_ports() -> dict[int, int]:
    """Returns the file descriptors of the ports on which this process listens."""
    ports = {}
    for table in filter(Path.exists, map(Path, _TABLES)):
        for line in table.read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING:
                ports[f"socket:[{fields[9]}]"] = int(fields[1].rpartition(":")[2], 16)
    found = {}
    folder = Path("/proc/self/fd")
    for entry in folder.iterdir() if folder.is_dir() else ():
        try:
            port = ports.get(str(entry.readlink()))
        except OSError:
            continue  # The descriptor of this very loop.
        if port is not None:
            found[port] = int(entry.name)
    return found


def _restrict(descriptor: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, b"lo\0")
    except OSError:
        return False
    return True
