"""CDRs as the bodies of posts: the provider's three formats, and the oddities that are met in the field."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias
from urllib.parse import urlencode

import msgspec

from cdr.simulate.draws import Weighted

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

BodyFormat: TypeAlias = Literal["json", "xmlrpc", "form"]
FORMATS: tuple[BodyFormat, ...] = ("json", "xmlrpc", "form")
CONTENT_TYPES = {"json": "application/json", "xmlrpc": "text/xml", "form": "application/x-www-form-urlencoded"}
# The specification sends these in the JSON CDR alone.
_JSON_ONLY = frozenset({"seconds_waiting_in_queue", "OriginalivrUniqueID"})
_INT32 = 2**31
# A fraction that was read from a file as a Decimal is a number again in JSON.
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class Body(NamedTuple):
    """What goes over the wire."""

    data: bytes
    content_type: str


def encode_body(fields: Mapping[str, Any], body_format: BodyFormat) -> Body:
    """Write one CDR as the specification shows the format."""
    if body_format == "json":
        return Body(_ENCODER.encode(fields), CONTENT_TYPES["json"])
    if body_format == "xmlrpc":
        return xmlrpc_body(fields)
    return Body(urlencode(_texts(fields)).encode(), CONTENT_TYPES["form"])


def array_body(cdrs: Sequence[Mapping[str, Any]]) -> Body:
    """Write CDRs as one JSON array."""
    return Body(_ENCODER.encode(cdrs), CONTENT_TYPES["json"])


def xmlrpc_body(fields: Mapping[str, Any], integer: str = "i4", encoding: str = "utf-8") -> Body:
    """Write one CDR as the XML-RPC call `CDR`.

    `integer` is the tag of whole numbers, or empty for untyped values; `time` is an i8 wherever numbers are typed.
    `encoding` is declared unless it is UTF-8, and characters that it lacks become references.
    """
    declared = "" if encoding == "utf-8" else f' encoding="{encoding}"'
    members = "".join(
        f"<member><name>{name.translate(_ESCAPES)}</name><value>{_xml_value(name, value, integer)}</value></member>"
        for name, value in _without_json_only(fields).items()
    )
    text = (
        f'<?xml version="1.0"{declared}?><methodCall><methodName>CDR</methodName><params><param><value><struct>'
        f"{members}</struct></value></param></params></methodCall>"
    )
    return Body(text.encode(encoding, "xmlcharrefreplace"), CONTENT_TYPES["xmlrpc"])


def odd_body(rng: random.Random, fields: Mapping[str, Any], body_format: BodyFormat) -> Body:
    """Write one CDR in one of the less usual ways that have been met with this format."""
    oddity = _ODDITIES[body_format].draw(rng)
    if oddity == "array":
        return array_body([fields])
    if oddity == "pretty":
        return Body(json.dumps(fields, indent=4, default=_plain).encode(), CONTENT_TYPES["json"])
    if oddity == "numbers as text":
        return encode_body({name: _text(value) for name, value in fields.items()}, "json")
    if oddity == "windows-1255":
        return xmlrpc_body(fields, encoding="windows-1255")
    if oddity in ("int", "i8", "untyped"):
        return xmlrpc_body(fields, integer=oddity.removeprefix("untyped"))
    # What is left is a Content-Type that does not fit the body.
    return encode_body(fields, body_format)._replace(content_type=oddity)


_ODDITIES = {
    "json": Weighted({"array": 4, "pretty": 4, "numbers as text": 1, "text/html": 1, CONTENT_TYPES["form"]: 1}),
    "xmlrpc": Weighted({"int": 4, "i8": 2, "untyped": 2, "windows-1255": 3, "application/json": 1, "text/plain": 1}),
    "form": Weighted({"application/json": 1, "application/x-www-form-urlencoded; charset=utf-8": 3}),
}


def _without_json_only(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what these formats do not carry: the JSON-only fields, and null, which they cannot say."""
    return {name: value for name, value in fields.items() if name not in _JSON_ONLY and value is not None}


def _texts(fields: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in _without_json_only(fields).items()}


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return str(value)
    return "" if value is None else _ENCODER.encode(value).decode()


def _xml_value(name: str, value: object, integer: str) -> str:
    text = _text(value).translate(_ESCAPES)
    if not integer:
        return text
    if isinstance(value, bool):
        return f"<boolean>{int(value)}</boolean>"
    if isinstance(value, int):
        tag = "i8" if name == "time" or not -_INT32 <= value < _INT32 else integer
        return f"<{tag}>{value}</{tag}>"
    if isinstance(value, float | Decimal):
        return f"<double>{value:f}</double>"
    return f"<string>{text}</string>" if text else "<string />"


def _plain(value: object) -> object:
    """Let the standard encoder write what a reader of bodies may have found."""
    return float(value) if isinstance(value, Decimal) else str(value)
