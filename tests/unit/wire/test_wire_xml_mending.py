"""XML-RPC bodies that are almost XML."""

from __future__ import annotations

import pytest

from common.errors import Unreadable
from common.wire import Fields, read_body


def call(value: str) -> bytes:
    struct = f"<struct><member><name>a</name><value>{value}</value></member></struct>"
    return f"<methodCall><params><param><value>{struct}</value></param></params></methodCall>".encode()


def fields_of(body: bytes) -> Fields:
    (element,) = read_body(body).elements
    assert isinstance(element, Fields)
    return element


def error_of(body: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        read_body(body)
    return str(caught.value)


def test_undeclared_prefixes_are_dropped_but_not_inside_cdata() -> None:
    body = call("<x:string><![CDATA[<x:y>]]></x:string>")

    assert fields_of(body) == Fields({"a": "<x:y>"})


@pytest.mark.parametrize("sent", ["x\x01y", "x&#1;y", "x&#x1;y"])
def test_control_characters_that_xml_forbids_are_kept_as_in_json(sent: str) -> None:
    assert fields_of(call(sent)) == Fields({"a": "x\x01y"})


@pytest.mark.parametrize("sent", ["x\0y", "x&#0;y", "x&#x00;y"])
def test_nul_is_removed_and_noted(sent: str) -> None:
    assert fields_of(call(sent)) == Fields({"a": "xy"}, ("a: NUL removed",))


@pytest.mark.parametrize("sent", ["&#xD800;", "&#56320;", "&#xFFFE;"])
def test_what_is_no_character_becomes_the_replacement_character_and_is_noted(sent: str) -> None:
    element = fields_of(call(sent + "&#65;"))

    assert element == Fields({"a": "\ufffdA"}, ("a: broken characters replaced by U+FFFD",))


def test_a_broken_byte_costs_one_character_and_not_the_cdr() -> None:
    body = call("שלום לכולם").replace("ם</value>".encode(), b"\xd7</value>")

    assert fields_of(body).fields == {"a": "שלום לכול\ufffd"}


@pytest.mark.parametrize("reference", ["&#x110000;", "&#9999999999;"])
def test_a_reference_beyond_unicode_is_unreadable(reference: str) -> None:
    assert error_of(call(reference)).startswith("no XML: reference to invalid character number")


def test_a_body_that_uses_the_stand_ins_is_not_mended() -> None:
    assert "code points that are no characters" in error_of(call("\ufdd0\x01"))


def test_a_body_full_of_forbidden_characters_is_not_mended() -> None:
    assert "100,000 characters or more that XML does not allow" in error_of(call("\x01" * 100_001))
