"""The Content-Encoding of a body in quarantine: the name of its header tells whether the kept bytes are still in it."""

from __future__ import annotations

from collections.abc import Mapping

from common.wire import decompress

CONTENT_ENCODING = "content-encoding"
# No header can have this name, so nothing undoes an encoding twice.
UNDONE_ENCODING = "(content-encoding undone)"


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Tell by the headers that were kept with a body whether it is kept in its Content-Encoding."""
    return CONTENT_ENCODING in headers


def told_undone(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers as they are kept with bytes that are no longer in their Content-Encoding."""
    return {UNDONE_ENCODING if name == CONTENT_ENCODING else name: value for name, value in headers.items()}


def undone(body: bytes, headers: Mapping[str, str], limit: int) -> bytes:
    """Return a kept body with its Content-Encoding undone, if it is still in one; raises TooLarge or Unreadable."""
    return decompress(body, headers[CONTENT_ENCODING], limit) if is_encoded(headers) else body
