"""XML-RPC bodies: the first struct among the parameters of a call, or an array of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from common.delivery import WireValue
from common.errors import Unreadable
from common.wire.limits import MAX_DEPTH
from common.wire.message import Fields, Message, ToFields, mended, message_of
from common.wire.numbers import fraction, whole_number
from common.wire.xml_mending import mend, restore
from common.wire.xml_tree import parse

_WHOLE_NUMBER = re.compile(r"\s*+[+-]?(?:0|[1-9][0-9]*+)\s*+")
_FRACTION = re.compile(r"\s*+[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?\s*+")
_BOOLEANS: Final[dict[str, bool]] = {"1": True, "true": True, "0": False, "false": False}


def read_xmlrpc(text: str) -> Message:
    """Read a methodCall of any name: its first struct, or its first parameter when that is an array.

    Values that are not what their type says are kept as their text. Raise `Unreadable`, saying what is wrong and
    where, for text that is no XML or no call, for a DOCTYPE, and over a limit.
    """
    root, to_fields = _parse(text.lstrip())
    if root.tag.lower() != "methodcall":
        raise Unreadable(f"the root element is <{root.tag[:40]}>, not <methodCall>")
    return message_of("xmlrpc", _value(_cdr_of(root), 0), to_fields)


def _parse(text: str) -> tuple[Element, ToFields]:
    try:
        return parse(text), Fields
    except (ParseError, UnicodeEncodeError):
        return _parse_mended(text), mended


def _parse_mended(text: str) -> Element:
    try:
        root = parse(mend(text))
    except ParseError as error:
        raise Unreadable(f"no XML: {error}") from error
    restore(root)
    return root


def _cdr_of(call: Element) -> Element:
    values = [value for params in call for param in params for value in param if len(value)]
    structs = [value for value in values if value[0].tag == "struct"]
    if values and values[0][0].tag == "array" and (not structs or values[0].find(".//struct") is not None):
        return values[0]
    if not structs:
        raise Unreadable("no parameter of the call is a struct")
    return structs[0]


def _value(value: Element, depth: int) -> WireValue:
    if not len(value):
        return value.text or ""
    typed = value[0]
    return _READERS.get(typed.tag, _text)(typed, depth)


def _deeper(depth: int) -> int:
    if depth == MAX_DEPTH:
        raise Unreadable(f"values nested more than {MAX_DEPTH} deep")
    return depth + 1


def _struct(struct: Element, depth: int) -> WireValue:
    inner = _deeper(depth)
    fields: dict[str, WireValue] = {}
    for member in struct:
        name, value = "", None
        for part in member:
            if part.tag == "name":
                name = part.text or ""
            elif part.tag == "value":
                value = _value(part, inner)
        fields[name] = value
    return fields


def _array(array: Element, depth: int) -> WireValue:
    inner = _deeper(depth)
    return [_value(value, inner) for value in array.iterfind("data/value")]


def _text(typed: Element, _depth: int) -> str:
    return "".join(typed.itertext()) if len(typed) else typed.text or ""


def _int(typed: Element, _depth: int) -> WireValue:
    text = typed.text or ""
    # A leading zero means a telephone number, which is none without it.
    return whole_number(text.strip()) if _WHOLE_NUMBER.fullmatch(text) else text


def _double(typed: Element, _depth: int) -> WireValue:
    text = typed.text or ""
    return fraction(text.strip()) if _FRACTION.fullmatch(text) else text


def _boolean(typed: Element, _depth: int) -> WireValue:
    text = typed.text or ""
    return _BOOLEANS.get(text.strip().lower(), text)


def _nil(_typed: Element, _depth: int) -> WireValue:
    return None


_READERS: Final[dict[str, Callable[[Element, int], WireValue]]] = {
    "string": _text,
    "struct": _struct,
    "array": _array,
    "double": _double,
    "boolean": _boolean,
    "nil": _nil,
    **dict.fromkeys(("int", "i1", "i2", "i4", "i8", "biginteger"), _int),
}
