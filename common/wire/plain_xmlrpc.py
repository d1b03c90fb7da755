"""XML-RPC as the provider writes it: one struct of scalars, which two expressions read faster than a tree is built.

Whatever else XML allows is left to `xmlrpc.py`, which reads the same from the same.
"""

from __future__ import annotations

import re
from typing import Any, Final

from common.delivery import WireValue
from common.wire.limits import MAX_FIELDS
from common.wire.message import Fields, Message
from common.wire.xml_values import SCALARS

_MAX_BYTES: Final = 256 * 1024
# A carriage return would have to be made a line feed; the others are no XML.
_XML_BYTES: Final = bytes(byte for byte in range(256) if byte >= 0x20 or byte in b"\t\n")
_NOT_XML: Final = ("]]>", "\ufffe", "\uffff")
_TEXT = "[^<]*+"
_START = re.compile(
    r"\s*+(?:<\?xml version=[\"']1\.0[\"'](?: encoding=[\"'](?i:utf-8)[\"'])?\s*+\?>\s*+)?<methodCall>\s*+"
    rf"<methodName>{_TEXT}</methodName>\s*+<params>\s*+<param>\s*+<value>\s*+<struct>\s*+",
    re.ASCII,
)
_MEMBER = re.compile(
    rf"<member>\s*+<name>({_TEXT})</name>\s*+<value>(?:"
    rf"\s*+<(string|{'|'.join(SCALARS)})>({_TEXT})</\2>\s*+"
    rf"|\s*+<(string|nil)\s?/>\s*+"
    rf"|({_TEXT})"
    rf")</value>\s*+</member>\s*+",
    re.ASCII,
)
_END = re.compile(r"</struct>\s*+</value>\s*+</param>\s*+</params>\s*+</methodCall>\s*+", re.ASCII)
_ENTITIES: Final = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&amp;": "&"}
_ENTITY = re.compile("|".join(_ENTITIES))


def read_plain_xmlrpc(body: bytes) -> Message | None:
    """Read a call in UTF-8 that needs no mending, or return None when it is for `read_xmlrpc` to judge."""
    if len(body) > _MAX_BYTES or body.translate(None, _XML_BYTES):
        return None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    start, end = _START.match(text), text.rfind("</struct>")
    if start is None or end < start.end() or not _END.fullmatch(text, end) or any(each in text for each in _NOT_XML):
        return None
    has_entities = "&" in text
    if has_entities and text.count("&") != sum(map(text.count, _ENTITIES)):
        return None
    # The text between the members, and of each its five groups.
    pieces = _MEMBER.split(text[start.end() : end])
    if any(pieces[::6]):
        return None
    names, values = pieces[1::6], map(_value, pieces[2::6], pieces[3::6], pieces[4::6], pieces[5::6])
    fields = dict(zip(names, values, strict=True))
    if has_entities:
        fields = {_unescaped(name): _unescaped(value) for name, value in fields.items()}
    if not fields or len(fields) != len(names) or len(fields) > MAX_FIELDS:
        return None
    return Message("xmlrpc", is_array=False, elements=[Fields(fields)])


def _value(kind: str | None, typed: str | None, empty: str | None, untyped: str | None) -> WireValue:
    if kind == "string":
        return typed
    if kind is not None:
        return SCALARS[kind](typed or "")
    return None if empty == "nil" else untyped or ""


def _unescaped(value: WireValue) -> Any:
    # No entity stands for a part of a number, so what was read as one had none.
    return _ENTITY.sub(lambda entity: _ENTITIES[entity[0]], value) if isinstance(value, str) and "&" in value else value
