"""JSON bodies: a fast parser for what is plain, a lenient one for what real senders get wrong."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from common.errors import Unreadable
from common.wire.hygiene import storable
from common.wire.limits import check_json_shape
from common.wire.message import Fields, Message, mended, message_of
from common.wire.numbers import fraction, whole_number

_PLAIN = msgspec.json.Decoder(float_hook=fraction)
_LENIENT = json.JSONDecoder(strict=False, parse_float=fraction, parse_int=whole_number, parse_constant=str)
# A run of more than 400 digits shows in every fiftieth byte, which is far cheaper to search.
_LONG_NUMBER_TRACE = re.compile(rb"[0-9]{8}")


def read_plain_json(body: bytes) -> Message | None:
    """Read UTF-8 JSON that needs no mending, or return None when it is for `read_json` to judge.

    Raise `Unreadable` for a body over a limit.
    """
    check_json_shape(body)
    if rb"\u0000" in body or _LONG_NUMBER_TRACE.search(body[::50]):
        return None
    try:
        document = _PLAIN.decode(body)
    except ValueError:
        return None
    return message_of("json", document, Fields)


def read_json(text: str) -> Message:
    """Read JSON as real senders write it.

    Raw control characters in strings, NaN and Infinity (kept as text), lone surrogates, NUL and numbers of any
    size are accepted; of a repeated key the last stands. Raise `Unreadable`, saying what is wrong and where.
    """
    check_json_shape(text.encode("utf-8", "surrogatepass"))
    return message_of("json", _parse(text), mended)


def read_json_text(text: str) -> tuple[Any, str | None]:
    """Read JSON that stands inside a field: the value and None, or None and what is wrong; never raise.

    Texts in the value are made storable as everywhere; a value that had to be mended comes with a remark.
    """
    try:
        check_json_shape(text.encode("utf-8", "surrogatepass"))
        value = _parse(text)
    except Unreadable as error:
        return None, str(error)
    faults: set[str] = set()
    value = storable(value, faults)
    return value, "; ".join(sorted(faults)) or None


def _parse(text: str) -> Any:
    try:
        return _LENIENT.decode(text)
    except json.JSONDecodeError as error:
        raise Unreadable(f"no JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
