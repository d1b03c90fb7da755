"""JSON bodies: a fast parser for what is plain, a lenient one for what real senders get wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from common.errors import Unreadable
from common.wire.hygiene import storable
from common.wire.limits import MAX_MENDED_VALUES, check_json_shape
from common.wire.message import Fields, Message, annotated, mended, message_of
from common.wire.numbers import MAX_DIGITS, fraction, whole_number
from common.wire.repeats import notes_inside, notes_on_repeats, remarks_on_repeats

_PLAIN = msgspec.json.Decoder(float_hook=fraction)
_LENIENT = json.JSONDecoder(strict=False, parse_float=fraction, parse_int=whole_number, parse_constant=str)
_NAME_END = b'":'
_ESCAPED_NAME_END = rb"\":"
_CONTAINERS = frozenset({dict, list})
# A run of more than 400 digits shows in every fiftieth byte, which is far cheaper to search.
_LONG_NUMBER_TRACE = re.compile(rb"[0-9]{8}")
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * (MAX_DIGITS + 1)


def read_plain_json(body: bytes) -> Message | None:
    """Read UTF-8 JSON that needs no mending, or return None when it is for `read_json` to judge.

    Raise `Unreadable` for a body over a limit.
    """
    check_json_shape(body)
    try:
        document = _decode_plain(body)
    except ValueError:
        return None
    message = message_of("json", document, Fields)
    if _holds_all_names(body, document):
        return message
    return _annotated(message, body.decode())


def read_json(text: str) -> Message:
    """Read JSON as real senders write it.

    Raw control characters in strings, NaN and Infinity (kept as text), lone surrogates, NUL and numbers of any
    size are accepted; of a repeated key the last stands. Raise `Unreadable`, saying what is wrong and where.
    """
    body = text.encode("utf-8", "surrogatepass")
    check_json_shape(body, MAX_MENDED_VALUES)
    written = body.count(_NAME_END) - body.count(_ESCAPED_NAME_END)
    # Parsing needs the memory.
    del body
    document = _parse(text)
    message = message_of("json", document, mended)
    return message if written == _count_names(document) else _annotated(message, text)


def read_json_text(text: str) -> tuple[Any, str | None]:
    """Read JSON that stands inside a field: the value and None, or None and what is wrong; never raise.

    Texts in the value are made storable as everywhere; a value that had to be mended comes with a remark.
    """
    body = text.encode("utf-8", "surrogatepass")
    try:
        check_json_shape(body, MAX_MENDED_VALUES)
        try:
            return _decode_plain(body), None
        except ValueError:
            value = _parse(text)
    except Unreadable as error:
        return None, str(error)
    faults: set[str] = set()
    value = storable(value, faults)
    return value, "; ".join(sorted(faults)) or None


def _decode_plain(body: bytes) -> Any:
    """Decode JSON whose texts and numbers are storable as they are; raise ValueError when that is not certain."""
    if rb"\u0000" in body or _has_long_number(body):
        raise ValueError("it has to be mended")
    return _PLAIN.decode(body)


def _has_long_number(body: bytes) -> bool:
    found = _LONG_NUMBER_TRACE.search(body[::50])
    return found is not None and _LONG_NUMBER in body.translate(_DIGITS_AS_ZEROS)


def _holds_all_names(body: bytes, document: Any) -> bool:
    """Tell whether no name came more than once in one object; at worst a closer look is needed to tell.

    Inside of a text a quote is escaped, so each bare quote before a colon ends a name: when there are as many as the
    document has names, none was lost.
    """
    # The usual CDR has no names but its own, and is known as whole without a look at its values.
    own = len(document) if type(document) is dict else -1
    written = body.count(_NAME_END)
    if written == own:
        return True
    written -= body.count(_ESCAPED_NAME_END)
    return written == own or written == _count_names(document)


def _annotated(message: Message, text: str) -> Message:
    """Add notes on the names that came more than once."""
    notes = _find_repeats(text)
    return annotated(message, notes) if notes else message


def _count_names(document: Any) -> int:
    count, left = 0, [document]
    while left:
        value = left.pop()
        if type(value) is dict:
            count += len(value)
            value = value.values()
        left += [inner for inner in value if type(inner) in _CONTAINERS]
    return count


def _find_repeats(text: str) -> dict[int, list[str]]:
    """Read the document once more, for the places of its elements and the notes on each."""
    document = _PAIRWISE.decode(text)
    elements = [document] if isinstance(document, _Pairs) else document
    notes = {place: _notes_on(element) for place, element in enumerate(elements) if isinstance(element, _Pairs)}
    return {place: found for place, found in notes.items() if found}


class _Pairs(list[tuple[str, Any]]):
    """An object with every name that was sent, repeated ones too."""


def _notes_on(element: _Pairs) -> list[str]:
    notes = notes_on_repeats(element)
    for name, value in element:
        if isinstance(value, list):
            notes += notes_inside(name, _remarks_in(value))
    return notes


def _remarks_in(value: list[Any]) -> Iterator[tuple[str, str]]:
    if isinstance(value, _Pairs):
        yield from remarks_on_repeats(value)
        value = [each for _, each in value]
    for each in value:
        if isinstance(each, list):
            yield from _remarks_in(each)


_PAIRWISE = json.JSONDecoder(
    strict=False, object_pairs_hook=_Pairs, parse_float=fraction, parse_int=whole_number, parse_constant=str
)


def _parse(text: str) -> Any:
    try:
        return _LENIENT.decode(text)
    except json.JSONDecodeError as error:
        raise Unreadable(f"no JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
