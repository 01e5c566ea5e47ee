"""HTTP/2 written by hand, as no library would write it: RFC 9113 section 4 and RFC 7541 section 6."""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9

END_STREAM, END_HEADERS = 1, 4

INITIAL_WINDOW_SIZE = 4

# Of the static table: `:method GET`, `:scheme http`, `:path /`.
_GET = b"\x82\x86\x84"

# The first name that a connection adds to the dynamic table.
FIRST_ADDED = b"\xbe"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", name, value) for name, value in pairs))


def window_update(stream: int, size: int) -> bytes:
    """A WINDOW_UPDATE frame; a size of 0 is an error of the stream."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size))


def reset(stream: int) -> bytes:
    """RST_STREAM with CANCEL."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", 8))


def literal(name: bytes, value: bytes, indexed: bool = False) -> bytes:
    """A field written out, added to the dynamic table or not."""
    return (b"\x40" if indexed else b"\x00") + _text(name) + _text(value)


def get(*fields: bytes) -> bytes:
    """The header block of a GET with these fields."""
    return _GET + literal(b":authority", b"a") + b"".join(fields)


def _text(text: bytes) -> bytes:
    length = len(text)
    if length < 127:
        return bytes([length]) + text
    rest, octets = length - 127, bytearray([127])
    while rest >= 128:
        octets.append(rest % 128 + 128)
        rest //= 128
    octets.append(rest)
    return bytes(octets) + text
