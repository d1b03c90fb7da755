"""Forms: a body of `application/x-www-form-urlencoded`, or the query of a GET."""

from __future__ import annotations

import re
from typing import Final

from common.errors import Unreadable
from common.wire.hygiene import storable
from common.wire.limits import MAX_FIELDS
from common.wire.message import Fields, Message, mended
from common.wire.repeats import notes_on_repeats
from common.wire.text import decode, decode_as, narrow_codec

_MAX_STRAY_PERCENTS: Final = 100_000
_PLUS_AS_BLANK: Final = bytes.maketrans(b"+", b" ")
_STRAY_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def read_form(text: str, declared: str | None) -> Message:
    """Read a form body. `declared` is a codec from `declared_codec`. Raise `Unreadable` over a limit."""
    return Message("form", is_array=False, elements=[_fields_of(text, declared)])


def read_query(query: bytes) -> Fields:
    """Read the query string of a GET, without its `?`, by the rules of a form body. Raise `Unreadable` over a limit."""
    return _fields_of(decode(query, None), None)


def _fields_of(text: str, declared: str | None) -> Fields:
    if text.count("&") >= MAX_FIELDS:
        raise Unreadable(f"more than {MAX_FIELDS:,} fields")
    # What came as raw letters is decoded already; only a form of pure ASCII has all its letters in the escapes.
    codec_hint = declared if text.isascii() else None
    raw = _escaped(text.strip(" \t\r\n").encode("utf-8", "surrogatepass"))
    pairs = [pair.partition(b"=") for pair in raw.split(b"&") if pair]
    plain = [(_unescaped(name), _unescaped(value)) for name, _, value in pairs]
    codec = narrow_codec(b" ".join(part for pair in plain for part in pair), codec_hint)
    sent = [(decode_as(name, codec), decode_as(value, codec)) for name, value in plain]
    element = mended(dict(sent))
    if len(element.fields) == len(sent):
        return element
    notes = (storable(note, set()) for note in notes_on_repeats(sent))
    return Fields(element.fields, (*element.notes, *notes))


def _escaped(raw: bytes) -> bytes:
    raw = raw.translate(_PLUS_AS_BLANK)
    if b"%" not in raw:
        return raw
    escaped, stray = _STRAY_PERCENT.subn(b"%25", raw, _MAX_STRAY_PERCENTS)
    if stray == _MAX_STRAY_PERCENTS:
        raise Unreadable(f"{stray:,} percent signs or more that begin no escape")
    return escaped


def _unescaped(encoded: bytes) -> bytes:
    if b"%" not in encoded:
        return encoded
    # Python's string escapes are the same thing in another spelling, and decoded in C: `unquote` takes seconds
    # for the megabytes of a transcript.
    spelled = encoded.replace(b"\\", rb"\\").replace(b"%", rb"\x")
    return spelled.decode("unicode_escape").encode("latin-1")
