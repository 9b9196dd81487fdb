import sys

import pytest

from edge.browser.address import addresses, own_address, qr_code
from edge.browser.collection import Collection
from edge.browser.server import Server


@pytest.fixture
def server(make_plan):
    with Server({}, Collection(make_plan())) as server:
        yield server


def test_only_this_machine_gets_no_qr_code(server):
    for listen in ("127.0.0.1", "localhost", "::1"):
        assert addresses(server, listen) == server.url("localhost")


def test_phones_get_this_machine_s_address(server):
    first, rest = addresses(server, "0.0.0.0").split("\n", 1)
    assert first == server.url(own_address()) and server.token in first and rest
    assert addresses(server, "192.168.7.7").startswith(server.url("192.168.7.7"))


def test_a_qr_code_is_a_square_of_blocks():
    pytest.importorskip("segno", reason="needs keras_shufflenet[browser]")
    lines = qr_code("http://192.168.7.7:8000/0123456789abcdefghijkl/").splitlines()
    assert len(lines) > 10 and any("\u2588" in line or "\u2584" in line for line in lines)


def test_without_segno_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "segno", None)
    assert qr_code("x") == "(for a QR code: pip install 'keras_shufflenet[browser]')"
