"""XML-RPC bodies: the structs among the parameters of a call, alone or in arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element, ParseError

from common.delivery import WireValue
from common.errors import Unreadable
from common.wire.limits import MAX_DEPTH
from common.wire.message import Fields, Message, ToFields, annotated, kind_of, mended, message_of
from common.wire.repeats import note, notes_inside, notes_on_repeats, remarks_on_repeats
from common.wire.xml_mending import mend, restore
from common.wire.xml_tree import parse
from common.wire.xml_values import SCALARS

_MOST_LEFT_OUT: Final = 5


class _Inside(NamedTuple):
    """How deep a value stands, and where remarks go on what it holds and its field cannot."""

    depth: int
    remarks: list[tuple[str, str]]

    def deeper(self) -> _Inside:
        if self.depth == MAX_DEPTH:
            raise Unreadable(f"values nested more than {MAX_DEPTH} deep")
        return _Inside(self.depth + 1, self.remarks)


def read_xmlrpc(text: str) -> Message:
    """Read a methodCall of any name: a struct is a CDR; several, or an array with structs in it, are an array of CDRs.

    A parameter beside them is left out with a note on the first CDR. Values that are not what their type says are
    kept as their text. Raise `Unreadable`, saying what is wrong and where, for text that is no XML or no call, for a
    DOCTYPE, and over a limit.
    """
    root, to_fields = _parse(text.lstrip())
    if root.tag.lower() != "methodcall":
        raise Unreadable(f"the root element is <{root.tag[:40]}>, not <methodCall>")
    call = _parameters(root)
    notes: dict[int, list[str]] = {}
    values = [_element(each, place, notes) for place, each in enumerate(call.cdrs)]
    message = message_of("xmlrpc", values if call.is_array else values[0], to_fields)
    _tell_left_out(call.left_out, message, notes)
    return annotated(message, notes) if notes else message


class _Parameters(NamedTuple):
    """What a call holds: what is meant as CDRs, whether as an array of them, and what is left out."""

    cdrs: list[Element]
    is_array: bool
    left_out: list[Element]


def _parameters(root: Element) -> _Parameters:
    values = [value for params in root for param in params for value in param]
    typed = [each for value in values for each in (value if len(value) else [value])]
    chosen: list[Element] = []
    others: list[Element] = []
    for each in typed:
        (chosen if each.tag == "struct" or each.find(".//struct") is not None else others).append(each)
    if not chosen and [each.tag for each in others] == ["array"]:
        chosen, others = others, []
    if not chosen:
        raise Unreadable("no parameter of the call is a struct")
    cdrs = [cdr for each in chosen for cdr in (each.iterfind("data/value") if each.tag == "array" else [each])]
    left_out = [each for each in others if len(each) or (each.text or "").strip()]
    return _Parameters(cdrs, len(chosen) > 1 or chosen[0].tag == "array", left_out)


def _tell_left_out(left_out: list[Element], message: Message, notes: dict[int, list[str]]) -> None:
    if not left_out:
        return
    cdrs = (place for place, element in enumerate(message.elements) if isinstance(element, Fields))
    first = next(cdrs, None)
    if first is None:
        raise Unreadable("a parameter beside an array in which nothing is a struct")
    # Its kind alone: what stands before a CDR in a call is a password more often than not.
    kinds = [kind_of(_READERS.get(each.tag, _text)(each, _Inside(0, []))) for each in left_out[:_MOST_LEFT_OUT]]
    told = f"{len(left_out)} beside the CDR left out: {', '.join(kinds)}"
    notes.setdefault(first, []).append(note("params", told))


def _element(node: Element, place: int, notes: dict[int, list[str]]) -> WireValue:
    """Read what may be a CDR: a struct, or a value of an array."""
    struct = node if node.tag == "struct" else next(iter(node), None)
    if struct is None or struct.tag != "struct":
        return _value(node, _Inside(0, []))
    inside = _Inside(1, [])
    pairs = _members(struct, inside)
    lines = notes_on_repeats(pairs)
    if inside.remarks:
        for member in struct:
            again = _Inside(1, [])
            ((name, _),) = _members([member], again)
            lines += notes_inside(name, again.remarks)
    if lines:
        notes[place] = lines
    return dict(pairs)


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


def _value(value: Element, inside: _Inside) -> WireValue:
    if not len(value):
        return value.text or ""
    typed = value[0]
    return _READERS.get(typed.tag, _text)(typed, inside)


def _members(struct: Iterable[Element], inside: _Inside) -> list[tuple[str, WireValue]]:
    pairs = []
    for member in struct:
        name, value = "", None
        for part in member:
            if part.tag == "name":
                name = part.text or ""
            elif part.tag == "value":
                value = _value(part, inside)
        pairs.append((name, value))
    return pairs


def _struct(struct: Element, inside: _Inside) -> WireValue:
    pairs = _members(struct, inside.deeper())
    inside.remarks.extend(remarks_on_repeats(pairs))
    return dict(pairs)


def _array(array: Element, inside: _Inside) -> WireValue:
    inner = inside.deeper()
    return [_value(value, inner) for value in array.iterfind("data/value")]


def _text(typed: Element, _inside: _Inside) -> str:
    return "".join(typed.itertext()) if len(typed) else typed.text or ""


def _scalar(read: Callable[[str], WireValue]) -> Callable[[Element, _Inside], WireValue]:
    return lambda typed, _inside: read(typed.text or "")


def _nil(_typed: Element, _inside: _Inside) -> WireValue:
    return None


_READERS: Final[dict[str, Callable[[Element, _Inside], WireValue]]] = {
    "string": _text,
    "struct": _struct,
    "array": _array,
    "nil": _nil,
    **{kind: _scalar(read) for kind, read in SCALARS.items()},
}
