"""Bytes to fields: what the provider sent, in whichever of its formats, as names and values.

`read_body` is on the receiver's hot path; the replay of a quarantine uses the same.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import Final

from common.errors import Unreadable
from common.wire.compression import decompress
from common.wire.form import read_form, read_query
from common.wire.json_body import read_json, read_json_text, read_plain_json
from common.wire.message import BadElement, Element, Fields, Message
from common.wire.plain_xmlrpc import read_plain_xmlrpc
from common.wire.text import declared_codec, decode
from common.wire.xmlrpc import read_xmlrpc

__all__ = [
    "BadElement",
    "Element",
    "Fields",
    "Message",
    "decompress",
    "guess_format",
    "read_body",
    "read_json_text",
    "read_query",
]

# Enough for the blanks and the first field name of any body, and too little to cost time.
_SNIFFED: Final = 4_096
_JSON_STARTS: Final = (b"{", b"[")


def read_body(body: bytes, content_type: str | None = None) -> Message:
    """Read a body, decompressed, in the format that it is in, whatever its Content-Type says.

    Of `content_type` only the charset counts. Raise `Unreadable`, and nothing else, for every body that is none.
    """
    declared = declared_codec(content_type)
    unmarked = body.removeprefix(BOM_UTF8)
    if declared is None:
        message = _read_plain(unmarked)
        if message is not None:
            return message
    return _read_text(decode(body, declared), declared)


def _read_plain(body: bytes) -> Message | None:
    """Read what needs no mending, as nearly all bodies do; None for all others."""
    if body.startswith(_JSON_STARTS):
        return read_plain_json(body)
    return read_plain_xmlrpc(body) if body.startswith(b"<") else None


def guess_format(body: bytes) -> str:
    """Return json, xmlrpc or form: the format in which to answer a body, be it readable or not. Never raise."""
    return _sniff(decode(body[:_SNIFFED], None)) or "json"


def _read_text(text: str, declared: str | None) -> Message:
    match _sniff(text):
        case "json":
            return read_json(text)
        case "xmlrpc":
            return read_xmlrpc(text)
        case "form":
            return read_form(text, declared)
    if not text.strip():
        raise Unreadable("the body is empty")
    raise Unreadable(f"neither XML-RPC nor JSON nor a form: it begins with {text.strip()[:40]!r}")


def _sniff(text: str) -> str | None:
    start = text.lstrip()[:1]
    if start == "<":
        return "xmlrpc"
    if start in {"{", "["}:
        return "json"
    return "form" if "=" in text else None
