"""A small server of one site: it serves what is on a list, and nothing without the token."""

import hmac
import json
import secrets
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from common.cli import UserError
from edge.browser.collection import Collection, MessageError
from edge.browser.site import CONFIG, Page

_SECONDS = 60
_INDEX = "index.html"
_RESULTS = "results"
# The two that browsers ask for before they give a page threads and an exact clock; and the page may
# load nothing from elsewhere. LiteRT.js compiles WebAssembly and makes functions from text.
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-eval' blob:; worker-src 'self' blob:; "
        "img-src 'self' blob: data:; media-src 'self' blob:; form-action 'none'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Server:
    """Serves a site under a path that begins with a token, new for each server.

    Args:
      site: the files by path.
      collection: takes what pages send.
      listen: the address to listen on; 0.0.0.0 for all of this machine's.
      port: 0 for any free one.
      certificate, key: PEM files for https; None for http.

    Raises:
      UserError: the address cannot be used, or the certificate cannot be read.

    Examples:
      >>> with Server(site, Collection(plan)) as server:
      ...     print(server.url("localhost"))
    """

    def __init__(
        self,
        site: dict[str, Page],
        collection: Collection,
        listen: str = "127.0.0.1",
        port: int = 0,
        certificate: Path | None = None,
        key: Path | None = None,
    ):
        self.token = secrets.token_urlsafe(16)
        self._scheme = "https" if certificate else "http"
        context = _tls(certificate, key) if certificate else None
        handler = type("_Handler", (_Handler,), {"site": site, "collection": collection})
        handler.token = self.token
        try:
            self._server = _TlsServer((listen, port), handler, context)
        except (OSError, OverflowError) as error:
            raise UserError(
                f"cannot listen on {listen}:{port} ({error}); name another with --listen or --port"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, host: str) -> str:
        """Returns the page's address, with the token, by which `host` is reached."""
        return f"{self._scheme}://{host}:{self._server.server_address[1]}/{self.token}/"


class _TlsServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type, context: ssl.SSLContext | None):
        self._context = context
        super().__init__(address, handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answers a connection, in its own thread: also the handshake may wait there."""
        if self._context is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(_SECONDS)
        # If it fails, the browser does not trust us, or speaks no TLS: `handle_error` is called.
        with self._context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a phone that leaves amid a reply is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _SECONDS
    site: dict[str, Page]
    collection: Collection
    token: str

    def do_GET(self) -> None:
        """Sends a file of the site."""
        name = self._name()
        page = self.site.get(_INDEX if name == "" else name) if name is not None else None
        if page is None:
            self._reply(404)
        else:
            self._reply(200, page.read(), page.kind, keep=name != CONFIG)

    def do_POST(self) -> None:
        """Takes a message of a page."""
        if self._name() != _RESULTS:
            self._refuse(404)
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or self.headers.get("Transfer-Encoding"):
            self._refuse(411)
        elif len(length) > 12 or int(length) > self.collection.max_bytes:
            self._refuse(413)
        else:
            self._take(self.rfile.read(int(length)))

    def _take(self, body: bytes) -> None:
        try:
            precisions = self.collection.receive(json.loads(body))
        except MessageError as error:
            self._reply_json(400, {"error": str(error)})
        # Also of text that is not UTF-8, and of a thousand brackets.
        except (ValueError, RecursionError):
            self._reply_json(400, {"error": "this is not JSON"})
        else:
            self._reply_json(200, {"kept": True, "ap": precisions})

    def _name(self) -> str | None:
        """Returns the path below the token, or None without the token."""
        token, slash, name = self.path.partition("?")[0][1:].partition("/")
        is_known = hmac.compare_digest(token.encode(errors="replace"), self.token.encode())
        return name if slash and is_known else None

    def _refuse(self, status: int) -> None:
        # The body was not read, so nothing else can come through this connection.
        self.close_connection = True
        self._reply(status)

    def _reply_json(self, status: int, value: dict) -> None:
        self._reply(status, json.dumps(value).encode(), "application/json")

    def _reply(
        self, status: int, content: bytes = b"", kind: str = "text/plain", keep: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "private, max-age=86400" if keep else "no-store")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        """Returns the server's name, without its version."""
        return "shufflenet"

    def log_message(self, *unused: object) -> None:
        """Logs nothing: a log would contain the token."""


def _tls(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one.
        raise UserError(
            f"--certificate={certificate} and --key={key} cannot be used ({error}); name PEM files"
        ) from error
    return context
