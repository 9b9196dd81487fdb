"""Where a phone finds the page: the address, and a QR code of it in the terminal."""

import io
import ipaddress
import socket

from edge.browser.server import Server

# An address for documentation (RFC 5737): nothing is sent to it.
_ELSEWHERE = ("192.0.2.1", 9)


def addresses(server: Server, listen: str) -> str:
    """Returns lines that say where the page is; with a QR code if phones can reach it."""
    if _is_loopback(listen):
        return server.url("localhost")
    url = server.url(own_address() if listen in ("0.0.0.0", "") else listen)
    return f"{url}\n{qr_code(url)}"


def own_address() -> str:
    """Returns this machine's address in its network; "localhost" if it is in none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Chooses the way there, and with it our address; only data would be sent.
            probe.connect(_ELSEWHERE)
            return probe.getsockname()[0]
        except OSError:
            return "localhost"


def qr_code(text: str) -> str:
    """Returns a QR code as lines of block characters, or a line that says what is missing."""
    try:
        import segno
    except ImportError:
        return "(for a QR code: pip install 'keras_shufflenet[browser]')"
    lines = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(lines, compact=True)
    return lines.getvalue()


def _is_loopback(listen: str) -> bool:
    try:
        return ipaddress.ip_address(listen).is_loopback
    except ValueError:
        return listen == "localhost"
