import contextlib
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import urllib.request
from urllib.parse import urlsplit

import pytest

from common.cli import UserError
from edge.browser.collection import Collection
from edge.browser.server import Server
from edge.browser.site import CONFIG, Page


@pytest.fixture
def collection(make_plan):
    return Collection(make_plan())


@pytest.fixture
def server(collection):
    site = {
        "index.html": Page(b"<p>page", "text/html"),
        "litert/a.wasm": Page(b"\0asm", "application/wasm"),
        CONFIG: Page(b"{}", "application/json"),
    }
    with Server(site, collection) as server:
        yield server


def ask(server, path, method="GET", body=None, **headers):
    """Returns status, headers and body of a reply to a request for the path, as it is written."""
    address = urlsplit(server.url("127.0.0.1"))
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    connection.request(method, path, body, headers)
    reply = connection.getresponse()
    found = reply.status, dict(reply.headers), reply.read()
    connection.close()
    return found


def test_the_site_is_served_with_isolation(server):
    root = f"/{server.token}/"
    status, headers, body = ask(server, root)
    assert (status, body) == (200, b"<p>page")
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    status, headers, body = ask(server, root + "litert/a.wasm?x=1")
    assert (status, headers["Content-Type"], body) == (200, "application/wasm", b"\0asm")


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/index.html", "/favicon.ico", "//", "/wrong/", "/wrong/config.json", "*"),
        *("/{token}", "/{token}x/", "/{token}/../config.json", "/{token}/../../etc/passwd"),
        *("/{token}/litert/../../../etc/passwd", "/{token}/%2e%2e/%2e%2e/etc/passwd"),
        *("/{token}//etc/passwd", "/{token}/litert", "/{token}/litert/", "/{token}/manifest.json"),
        "/?token={token}",
    ],
)
def test_nothing_else_is_served(server, path):
    status, _, body = ask(server, path.format(token=server.token))
    assert (status, body) == (404, b"")


def test_servers_have_different_tokens(server, collection):
    other = Server({}, collection)
    assert other.token != server.token and len(other.token) >= 20
    other._server.server_close()


@pytest.mark.parametrize("token", ["", "wrong"])
def test_results_need_the_token(server, collection, token):
    body = json.dumps({"run": "0" * 16, "finished": True, "error": None})
    assert ask(server, f"/{token}/results", "POST", body)[0] == 404
    assert collection.finished.empty()
    assert ask(server, f"/{server.token}/results", "POST", body)[0] == 200
    assert collection.finished.get_nowait().run == "0" * 16


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"[" * 5000, {}, 400),
        (b'{"run": "x"}', {}, 400),
        (b"", {"Content-Length": "99999999999"}, 413),
        (b"", {"Content-Length": "9" * 5000}, 413),
        (b"", {"Content-Length": "-1"}, 411),
        (b"", {"Content-Length": "x"}, 411),
        (b"", {"Transfer-Encoding": "chunked", "Content-Length": "1"}, 411),
    ],
)
def test_hostile_bodies_are_refused(server, collection, body, headers, status):
    assert ask(server, f"/{server.token}/results", "POST", body, **headers)[0] == status
    assert collection.finished.empty()
    # The server is still there.
    assert ask(server, f"/{server.token}/")[0] == 200


def test_the_limit_is_above_what_a_page_sends(collection):
    plan = collection._plan
    outputs = len(plan.images) * 10 * 4 * 4 / 3
    assert len(plan.files) * outputs < collection.max_bytes < 2**20


def test_a_port_in_use_is_one_line(collection):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port} .*--port"):
            Server({}, collection, port=port)


def test_a_certificate_that_is_none_is_named(collection, tmp_path):
    path = tmp_path / "certificate.pem"
    path.write_text("no certificate")
    with pytest.raises(UserError, match=r"--certificate=.*certificate\.pem and --key"):
        Server({}, collection, certificate=path, key=path)


def test_https_and_who_speaks_none(collection, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    site = {"index.html": Page(b"<p>page", "text/html")}
    with Server(site, collection, certificate=certificate, key=key) as server:
        address = server.url("localhost")
        port = urlsplit(address).port
        # One that waits amid the handshake, and one by plain http: others are served all the same.
        with socket.create_connection(("127.0.0.1", port)) as idle:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
                with contextlib.suppress(ConnectionResetError):
                    assert b"page" not in plain.recv(1000)
            trust = ssl.create_default_context(cafile=certificate)
            with urllib.request.urlopen(address, timeout=20, context=trust) as reply:
                assert reply.read() == b"<p>page"
            idle.close()
