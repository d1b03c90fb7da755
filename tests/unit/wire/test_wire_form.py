"""Form bodies and the queries of a GET."""

from __future__ import annotations

import pytest

from common.errors import Unreadable
from common.wire import Fields, read_body, read_query

FORM = "application/x-www-form-urlencoded"


def fields_of(body: bytes, content_type: str | None = FORM) -> Fields:
    message = read_body(body, content_type)
    assert (message.format, message.is_array) == ("form", False)
    (element,) = message.elements
    assert isinstance(element, Fields)
    return element


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"a=b&c=d", {"a": "b", "c": "d"}),
        (b"a=x+y%20z%2Bw", {"a": "x y z+w"}),
        (b"a=&b&c=1", {"a": "", "b": "", "c": "1"}),
        (b"a=b=c", {"a": "b=c"}),
        (b"&&a=1&", {"a": "1"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
        (b"a=1\r\n", {"a": "1"}),
        (b"a%3D=%26", {"a=": "&"}),
        (b"a=100%&b=%zz%4&c=%41", {"a": "100%", "b": "%zz%4", "c": "A"}),
        (rb"a=\x41%5C%41\n", {"a": r"\x41\A\n"}),
        (b"a=0722776772&b=1.50", {"a": "0722776772", "b": "1.50"}),
    ],
)
def test_a_form_gives_its_fields_as_text(body: bytes, fields: dict[str, str]) -> None:
    assert fields_of(body) == Fields(dict(fields))


@pytest.mark.parametrize("body", [b"a=1&a=2", b"a=1&b=&%61=2", b"a=1&b=&a=2&a=2"])
def test_the_last_of_a_repeated_field_stands_and_a_note_tells_of_the_other(body: bytes) -> None:
    element = fields_of(body)

    assert element.fields["a"] == "2"
    assert element.notes == ("a: sent more than once: the last stands, not '1'",)


def test_a_field_that_is_repeated_with_its_value_is_not_told() -> None:
    assert fields_of(b"a=1&a=1") == Fields({"a": "1"})


def test_repeated_fields_that_had_to_be_mended_are_told_in_text_that_can_be_stored() -> None:
    element = fields_of(b"a%00=%ED%A0%80&a%00=x")

    assert element.fields == {"a": "x"}
    told = "a: sent more than once: the last stands, not '\\ud800'"
    assert element.notes == ("a: NUL removed", told)


@pytest.mark.parametrize(
    "body", [b"a=%D7%A9%D7%9C%D7%95%D7%9D", b"a=%f9%ec%e5%ed", "a=שלום".encode(), "a=שלום".encode("cp1255")]
)
def test_hebrew_is_read_in_utf8_and_windows_1255_escaped_or_raw(body: bytes) -> None:
    assert fields_of(body) == Fields({"a": "שלום"})


def test_a_declared_charset_counts_for_the_escapes() -> None:
    assert fields_of(b"a=%C3%A9", f"{FORM}; charset=windows-1255") == Fields({"a": "ֳ©"})
    assert fields_of(b"a=%E9", f"{FORM}; charset=ISO-8859-1") == Fields({"a": "é"})


def test_raw_letters_are_read_by_the_declared_charset_once() -> None:
    assert fields_of("a=שלום".encode("cp1255"), f"{FORM}; charset=windows-1255") == Fields({"a": "שלום"})


def test_nul_and_broken_characters_are_mended_and_noted() -> None:
    element = fields_of(b"a=x%00&b=%ED%A0%80&c=y")

    assert element.fields == {"a": "x", "b": "\ufffd", "c": "y"}
    assert element.notes == ("a: NUL removed", "b: broken characters replaced by U+FFFD")


def test_a_form_may_hold_2_000_fields_and_no_more() -> None:
    assert len(fields_of(b"&".join(b"%d=" % number for number in range(2_000))).fields) == 2_000
    with pytest.raises(Unreadable, match="more than 2,000 fields"):
        read_body(b"a=" + b"&" * 2_000)


def test_a_form_full_of_percent_signs_that_begin_no_escape_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="100,000 percent signs or more that begin no escape"):
        read_body(b"a=" + b"%" * 100_000)


def test_a_query_is_read_by_the_rules_of_a_form() -> None:
    assert read_query(b"ivruniqueid=1&queuename=%f9%ec%e5%ed&x") == Fields(
        {"ivruniqueid": "1", "queuename": "שלום", "x": ""}
    )


def test_an_empty_query_has_no_fields() -> None:
    assert read_query(b"") == Fields({})
