"""Which encoding a body is in, and which format."""

from __future__ import annotations

import pytest

from common.errors import Unreadable
from common.wire import Fields, guess_format, read_body

CALL = (
    "<methodCall><params><param><value><struct><member><name>a</name><value>שלום</value></member>"
    "</struct></value></param></params></methodCall>"
)
JSON = '{"a": "שלום"}'
SHALOM = [Fields({"a": "שלום"})]


@pytest.mark.parametrize("text", [JSON, CALL, "ab=1&a=שלום"])
@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "cp1255"],
)
def test_an_undeclared_encoding_is_told_by_the_bytes(text: str, encoding: str) -> None:
    (element,) = read_body(text.encode(encoding)).elements

    assert isinstance(element, Fields)
    assert element.fields["a"] == "שלום"
    assert element.notes == ()


@pytest.mark.parametrize("mark", ["utf-16-be", "utf-32-be"])
def test_a_byte_order_mark_tells_big_endian(mark: str) -> None:
    assert read_body(("\ufeff" + JSON).encode(mark)).elements == SHALOM


@pytest.mark.parametrize(
    "name", ["windows-1255", "WINDOWS-1255", "cp1255", "ISO-8859-8", "iso-8859-8-i", "iso-8859-8-E"]
)
def test_hebrew_that_an_xml_declaration_names_is_read(name: str) -> None:
    declaration = f'<?xml version="1.0" encoding="{name}"?>'

    assert read_body((declaration + CALL).encode("cp1255")).elements == SHALOM


@pytest.mark.parametrize("text", [JSON, CALL])
@pytest.mark.parametrize(
    "content_type", ["x/y; charset=windows-1255", 'x/y; charset="Windows-1255"', "x/y;charset=hebrew"]
)
def test_hebrew_that_the_content_type_names_is_read(text: str, content_type: str) -> None:
    assert read_body(text.encode("cp1255"), content_type).elements == SHALOM


def test_a_declared_charset_is_believed_even_where_the_bytes_would_be_utf8() -> None:
    assert read_body(b'{"a": "\xc3\xa9"}', "application/json; charset=iso-8859-1").elements == [Fields({"a": "Ã©"})]


def test_the_xml_declaration_counts_before_the_content_type() -> None:
    body = ('<?xml version="1.0" encoding="windows-1255"?>' + CALL).encode("cp1255")

    assert read_body(body, "text/xml; charset=iso-8859-1").elements == SHALOM


def test_a_byte_order_mark_counts_before_the_xml_declaration() -> None:
    body = ('\ufeff<?xml version="1.0" encoding="windows-1255"?>' + CALL).encode()

    assert read_body(body).elements == SHALOM


@pytest.mark.parametrize("name", ["utf-8", "utf-16", "us-ascii", "utf-7", "idna", "rot13", "base64", "x-unknown"])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1255"])
def test_a_declaration_that_is_wrong_or_unknown_falls_back_to_what_the_bytes_say(name: str, encoding: str) -> None:
    declaration = f'<?xml version="1.0" encoding="{name}"?>'

    assert read_body((declaration + CALL).encode(encoding)).elements == SHALOM
    assert read_body(JSON.encode(encoding), f"application/json; charset={name}").elements == SHALOM


def test_bytes_that_the_encoding_does_not_define_become_the_replacement_character() -> None:
    assert read_body(b'{"a": "\xf9\xff"}').elements == [Fields({"a": "ש\ufffd"})]


def test_utf8_with_one_broken_byte_stays_utf8() -> None:
    cut = '{"a": "וולטר מלו'.encode() + b'\xd7"}'

    (element,) = read_body(cut).elements
    assert element == Fields({"a": "וולטר מלו\ufffd"}, ("a: broken characters replaced by U+FFFD",))


def test_surrogates_among_windows_1255_do_not_make_it_utf8() -> None:
    (element,) = read_body(b'{"a": "\xed\xa0\x80\xf9\xec"}').elements

    assert isinstance(element, Fields)
    assert element.fields["a"] == "ם\xa0€של"


def test_a_large_body_of_broken_utf16_is_unreadable() -> None:
    body = ('{"a": "' + "x" * 2_000_000 + '\ud800"}').encode("utf-16-le", "surrogatepass")

    with pytest.raises(Unreadable, match="bytes of broken utf-16-le"):
        read_body(body)
    assert guess_format(body) == "json"


def test_a_lone_surrogate_in_utf16_is_mended_and_noted() -> None:
    body = '{"a": "\ud800"}'.encode("utf-16-le", "surrogatepass")

    (element,) = read_body(body).elements
    assert element == Fields({"a": "\ufffd"}, ("a: broken characters replaced by U+FFFD",))


def test_utf16_that_is_cut_in_the_middle_of_a_character_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="no JSON: Extra data"):
        read_body(JSON.encode("utf-16") + b"x")


@pytest.mark.parametrize(
    "content_type", [None, "", "text/xml", "application/x-www-form-urlencoded", "a;charset=", "\x00"]
)
def test_the_body_tells_the_format_whatever_the_content_type_says(content_type: str | None) -> None:
    assert read_body(b' \r\n{"a": 1}', content_type).format == "json"
    assert read_body(b"\n" + CALL.encode(), content_type).format == "xmlrpc"
    assert read_body(b"a=1", content_type).format == "form"


@pytest.mark.parametrize("body", [b"", b" \r\n", b"\xef\xbb\xbf", b"\xff\xfe"])
def test_an_empty_body_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable, match="the body is empty"):
        read_body(body)


@pytest.mark.parametrize("body", [b"123", b"null", b'"text"', b"hello", b"\x00\x01\x02"])
def test_what_is_in_none_of_the_formats_is_unreadable_and_says_how_it_begins(body: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        read_body(body + b" " + b"z" * 100)

    assert str(caught.value).startswith(f"neither XML-RPC nor JSON nor a form: it begins with {body.decode()!r}"[:-1])
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("body", "wire_format"),
    [
        (b"<broken", "xmlrpc"),
        (b" [1,", "json"),
        (b"{", "json"),
        (b"a=%", "form"),
        (b"", "json"),
        (b"hello", "json"),
        (b"\xff\xfe<\0", "xmlrpc"),
        (b"\xff\xff\xff", "json"),
    ],
)
def test_the_format_of_an_answer_is_guessed_for_any_body(body: bytes, wire_format: str) -> None:
    assert guess_format(body) == wire_format
