"""What a sender encodes is what comes out, in every format and encoding."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from xml.sax.saxutils import escape

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from common.wire import Fields, Message, read_body

ENCODER = msgspec.json.Encoder(decimal_format="number")
WIDE = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
SINGLE_BYTE = ["cp1255", "iso8859_1", "koi8_r", "cp862"]
CHARSETS = {"cp1255": "windows-1255", "iso8859_1": "ISO-8859-1", "koi8_r": "KOI8-R", "cp862": "IBM862"}

modest = settings(deadline=None, max_examples=60)


def trees(text: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    decimals = st.decimals(-(10**20), 10**20, allow_nan=False, places=3)
    leaves = text | st.integers(-(10**30), 10**30) | decimals | st.booleans() | st.none()
    values = st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8
    )
    return st.dictionaries(text, values, min_size=1, max_size=5)


json_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
# The characters that XML has no way to write, and their stand-ins, have tests of their own.
xml_text = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"], include_characters="\t\n\r\x85"), max_size=12)


def only_fields(message: Message) -> dict[str, Any]:
    (element,) = message.elements
    assert isinstance(element, Fields)
    assert element.notes == ()
    return element.fields


def to_xml(value: object) -> str:
    match value:
        case None:
            return "<nil/>"
        case bool():
            return f"<boolean>{value:d}</boolean>"
        case int():
            return f"<i8>{value}</i8>"
        case Decimal():
            return f"<double>{value}</double>"
        case list():
            return "<array><data>" + "".join(f"<value>{to_xml(inner)}</value>" for inner in value) + "</data></array>"
        case dict():
            members = (f"<name>{to_text(name)}</name><value>{to_xml(inner)}</value>" for name, inner in value.items())
            return "<struct>" + "".join(f"<member>{member}</member>" for member in members) + "</struct>"
    return f"<string>{to_text(str(value))}</string>"


def to_text(text: str) -> str:
    return escape(text, {"\r": "&#13;"})


def to_call(fields: dict[str, Any], declaration: str = "") -> str:
    return f"{declaration}<methodCall><params><param><value>{to_xml(fields)}</value></param></params></methodCall>"


@modest
@given(fields=trees(json_text), encoding=st.sampled_from(WIDE))
def test_json_in_every_unicode_encoding(fields: dict[str, Any], encoding: str) -> None:
    assert only_fields(read_body(ENCODER.encode(fields).decode().encode(encoding))) == fields


@modest
@given(fields=st.dictionaries(json_text, json_text, min_size=1))
def test_json_of_pure_ascii_escapes(fields: dict[str, str]) -> None:
    assert only_fields(read_body(json.dumps(fields).encode())) == fields


@modest
@given(data=st.data(), encoding=st.sampled_from(SINGLE_BYTE))
def test_json_in_a_declared_encoding(data: st.DataObject, encoding: str) -> None:
    text = st.text(st.characters(codec=encoding, exclude_characters="\0"), max_size=12)
    fields = data.draw(trees(text))

    body = ENCODER.encode(fields).decode().encode(encoding)
    assert only_fields(read_body(body, f"application/json; charset={CHARSETS[encoding]}")) == fields


@modest
@given(fields=trees(xml_text), encoding=st.sampled_from(WIDE))
def test_xmlrpc_in_every_unicode_encoding(fields: dict[str, Any], encoding: str) -> None:
    assert only_fields(read_body(to_call(fields).encode(encoding))) == fields


@modest
@given(data=st.data(), encoding=st.sampled_from(SINGLE_BYTE))
def test_xmlrpc_in_a_declared_encoding(data: st.DataObject, encoding: str) -> None:
    text = st.text(st.characters(codec=encoding, exclude_categories=["Cc"]), max_size=12)
    fields = data.draw(trees(text))

    declaration = f'<?xml version="1.0" encoding="{CHARSETS[encoding]}"?>'
    assert only_fields(read_body(to_call(fields, declaration).encode(encoding))) == fields


@modest
@given(fields=st.dictionaries(json_text, json_text, min_size=1))
def test_a_form_in_utf8(fields: dict[str, str]) -> None:
    assert only_fields(read_body(urlencode(fields).encode())) == fields


@modest
@given(data=st.data(), encoding=st.sampled_from(SINGLE_BYTE))
def test_a_form_in_a_declared_encoding(data: st.DataObject, encoding: str) -> None:
    text = st.text(st.characters(codec=encoding, exclude_characters="\0"), max_size=12)
    fields = data.draw(st.dictionaries(text, text, min_size=1))

    body = urlencode(fields, encoding=encoding).encode()
    assert only_fields(read_body(body, f"x/y; charset={CHARSETS[encoding]}")) == fields


@modest
@given(name=st.text("אבגדהוזחטיכלמנסעפצקרשת ", min_size=1).filter(str.strip))
def test_undeclared_windows_1255_in_every_format(name: str) -> None:
    fields = {"name": name}

    assert only_fields(read_body(json.dumps(fields, ensure_ascii=False).encode("cp1255"))) == fields
    assert only_fields(read_body(to_call(fields).encode("cp1255"))) == fields
    assert only_fields(read_body(urlencode(fields, encoding="cp1255").encode())) == fields
