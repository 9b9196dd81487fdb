"""Values as C++ literals."""

import numpy as np

_ESCAPES = {ord('"'): '\\"', ord("\\"): "\\\\"}


def cpp_float(value: float) -> str:
    """Returns a float32 as an exact C++ literal: nine digits distinguish every float32.

    Examples:
      >>> cpp_float(0.5)
      '0.5f'
    """
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if set(text) & set(".e") else f"{text}.0f"


def cpp_string(text: str) -> str:
    """Returns a text as a C++ string literal of its UTF-8 bytes.

    Bytes that are not printable ASCII are escaped as three octal digits, because any character can
    follow those, unlike hexadecimal digits. "?" is escaped as well: two begin a trigraph.

    Examples:
      >>> cpp_string('a"b')
      '"a\\\\"b"'
    """
    escaped = "".join(
        _ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 and byte != 63 else f"\\{byte:03o}")
        for byte in text.encode()
    )
    return f'"{escaped}"'
