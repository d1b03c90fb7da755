"""Content-Encoding: inflating a body while counting what comes out."""

from __future__ import annotations

import zlib
from typing import Final

from common.errors import TooLarge, Unreadable

_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_MAX_CODINGS: Final = 4
# Concatenated gzip members are legal; more than a few of them are only there to cost time.
_MAX_MEMBERS: Final = 16


def decompress(body: bytes, content_encoding: str, limit: int) -> bytes:
    """Undo the codings of a Content-Encoding header: gzip, x-gzip, deflate (zlib or raw) and identity, in any list.

    Raise `TooLarge` as soon as a step is over `limit` bytes, `Unreadable` when the data is corrupt or cut short, the
    coding unknown, or bytes follow the end (zeros after gzip are padding, and legal). An empty body stays empty.
    """
    codings = [
        coding for part in content_encoding.lower().split(",") if (coding := part.strip()) not in {"", "identity"}
    ]
    if len(codings) > _MAX_CODINGS:
        raise Unreadable(f"{len(codings)} content encodings on each other, more than {_MAX_CODINGS}")
    for coding in reversed(codings):
        body = _decoded(body, coding, limit) if body else body
    return _within(body, limit)


def _decoded(body: bytes, coding: str, limit: int) -> bytes:
    try:
        if coding in {"gzip", "x-gzip"}:
            return _gunzip(body, limit)
        if coding == "deflate":
            return _inflate_any(body, limit)
    except zlib.error as error:
        raise Unreadable(f"the {coding} data is corrupt: {error}") from error
    raise Unreadable(f"the content encoding {coding[:40]!r} is not known")


def _gunzip(body: bytes, limit: int) -> bytes:
    inflated = b""
    for _ in range(_MAX_MEMBERS):
        member, body = _inflate(body, _GZIP, limit)
        inflated = _within(inflated + member, limit)
        if not body.strip(b"\0"):
            return inflated
    raise Unreadable(f"more than {_MAX_MEMBERS} gzip members")


def _inflate_any(body: bytes, limit: int) -> bytes:
    # The standard means zlib by deflate; some senders mean the raw stream inside of it.
    try:
        inflated, rest = _inflate(body, _ZLIB, limit)
    except zlib.error:
        inflated, rest = _inflate(body, _RAW, limit)
    if rest:
        raise Unreadable(f"{len(rest)} bytes follow the end of the deflate data")
    return inflated


def _inflate(body: bytes, window: int, limit: int) -> tuple[bytes, bytes]:
    stream = zlib.decompressobj(window)
    # One byte more than allowed is asked for, so that the bomb shows and goes no further.
    inflated = _within(stream.decompress(body, limit + 1), limit)
    if not stream.eof:
        raise Unreadable("the compressed data is cut short")
    return inflated, stream.unused_data


def _within(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise TooLarge(f"the body is over the limit of {limit} bytes")
    return data
