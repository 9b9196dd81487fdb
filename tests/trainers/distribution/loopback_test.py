"""Ports that other machines cannot reach: what is restricted, and what is said where it is not."""

import os
import socket
import sys

import pytest

from trainers.distribution import loopback
from trainers.distribution.loopback import is_loopback, kept_to_this_machine


def bound_device(descriptor):
    """Returns the interface that a listening socket is tied to, such as "lo", or ""."""
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        found = listener.getsockopt(socket.SOL_SOCKET, loopback._SO_BINDTODEVICE, 16)
    return found.rstrip(b"\0").decode()


@pytest.fixture
def everywhere():
    with socket.create_server(("0.0.0.0", 0)) as server:
        yield server


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")
def test_servers_in_the_block_are_tied_to_the_loopback_interface(everywhere, capsys):
    with kept_to_this_machine():
        inside = socket.create_server(("0.0.0.0", 0))
    with inside:
        assert bound_device(inside.fileno()) == "lo"
        assert bound_device(everywhere.fileno()) == ""
        socket.create_connection(("127.0.0.1", inside.getsockname()[1]), 5).close()
    assert capsys.readouterr().err == ""


def test_where_the_system_cannot_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(loopback, "_restrict", lambda descriptor: False)
    with kept_to_this_machine():
        server = socket.create_server(("0.0.0.0", 0))
    port = server.getsockname()[1]
    server.close()
    said = capsys.readouterr().err
    assert f"listens on all network interfaces (ports {port}): whoever reaches them" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1:80", True), ("localhost:1", True), ("[::1]:1", True), ("10.0.0.5:1", False)],
)
def test_addresses_of_this_machine_are_known(address, expected):
    assert is_loopback(address) == expected
