"""What a body says: its format and its elements, each a CDR's fields or something that is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from common.delivery import WireValue
from common.errors import Unreadable
from common.wire.hygiene import storable
from common.wire.limits import MAX_ELEMENTS, MAX_FIELDS
from common.wire.repeats import notes_on_repeats

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_KINDS = {str: "a text", bool: "true or false", type(None): "null", list: "an array", dict: "an object"}


class Fields(msgspec.Struct, frozen=True):
    """One object of a body: the sender's field names and values.

    Every text in it can be encoded as UTF-8 and holds no NUL. `notes` tell what had to be mended for that, and what
    the fields could not hold, as lines `<field>: <what>` for the column `problems`.
    """

    fields: dict[str, WireValue]
    notes: tuple[str, ...] = ()


class BadElement(msgspec.Struct, frozen=True):
    """An element of an array that cannot be a CDR: `error` says why, `text` is the element as JSON."""

    error: str
    text: bytes


Element = Fields | BadElement


class Message(msgspec.Struct, frozen=True):
    """A body that could be read. `format` is json, xmlrpc or form; one that is no array has one element."""

    format: str
    is_array: bool
    elements: list[Element]


ToFields = Callable[[dict[str, Any]], Fields]


def message_of(wire_format: str, document: object, to_fields: ToFields) -> Message:
    """Build the message of one object, or of an array with its elements judged one by one.

    Raise `Unreadable` for anything else, and over `MAX_ELEMENTS` elements or `MAX_FIELDS` fields.
    """
    if isinstance(document, list):
        if len(document) > MAX_ELEMENTS:
            raise Unreadable(f"an array of {len(document):,} elements, more than {MAX_ELEMENTS:,}")
        return Message(wire_format, is_array=True, elements=[_element(value, to_fields) for value in document])
    if not isinstance(document, dict) or len(document) > MAX_FIELDS:
        raise Unreadable(_fault(document))
    return Message(wire_format, is_array=False, elements=[to_fields(document)])


def annotated(message: Message, notes: Mapping[int, Sequence[str]]) -> Message:
    """Return the message with more notes on the CDRs at these places."""
    elements = [
        Fields(element.fields, (*element.notes, *(storable(note, set()) for note in notes[place])))
        if isinstance(element, Fields) and place in notes
        else element
        for place, element in enumerate(message.elements)
    ]
    return Message(message.format, message.is_array, elements)


def mended(fields: dict[str, Any]) -> Fields:
    """Make every text of the fields storable, nested ones too, and note which fields that changed."""
    pairs: list[tuple[str, WireValue]] = []
    notes: list[str] = []
    for name, value in fields.items():
        faults: set[str] = set()
        key = storable(name, faults)
        pairs.append((key, storable(value, faults)))
        notes += [f"{key[:100]}: {fault}" for fault in sorted(faults)]
    return Fields(dict(pairs), (*notes, *notes_on_repeats(pairs)))


def kind_of(value: object) -> str:
    """Name what a value is, for a message."""
    return _KINDS.get(type(value), "a number")


def _element(value: object, to_fields: ToFields) -> Element:
    if isinstance(value, dict) and len(value) <= MAX_FIELDS:
        return to_fields(value)
    return BadElement(_fault(value), _ENCODER.encode(storable(value, set())))


def _fault(value: object) -> str:
    if isinstance(value, dict):
        return f"an object of {len(value):,} fields, more than {MAX_FIELDS:,}"
    return f"{kind_of(value)}, not an object"
