"""Bodies that nobody meant: any bytes, damaged bodies, and bodies made to hurt."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Unreadable
from common.wire import BadElement, Message, guess_format, read_body, read_query

GOOD = [
    rb'{"caller": "0544444444", "time": 1414320455, "price": 1.50, "IVR": [{"Dtmf": 1}], "x": "\u05d0\ud83d\ude00"}',
    b'[{"caller": "1"}, 2, null]',
    (
        b'<?xml version="1.0" encoding="windows-1255"?><methodCall><params><param><value><struct><member><name>a</name>'
        b"<value><i4>1</i4></value></member><member><name>b</name><value>\xf9&#1488;</value></member></struct></value>"
        b"</param></params></methodCall>"
    ),
    b"caller=0544444444&name=%D7%A9%00&x=%ED%A0%80+y",
]
FRAGMENTS = [
    b"\0",
    b"\xff\xfe",
    b"\\ud800",
    b"\\u0000",
    b"&#0;",
    b"&#xD800;",
    b"<ex:nil/>",
    b"\xed\xa0\x80",
    b"%00",
    b"%",
]
WEIRD = [
    *FRAGMENTS,
    b"{",
    b"[",
    b'"',
    b"<",
    b"=",
    b"&",
    b"]]>",
    b"<![CDATA[",
    b"<!DOCTYPE",
    b"1e999",
    b"NaN",
    b"\xef\xb7\x90",
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    body = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = start + draw(st.sampled_from([0, 0, 0, 1, 5]))
        body = body[:start] + draw(st.sampled_from(WEIRD) | st.binary(max_size=3)) + body[end:]
    return body


def texts_of(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from texts_of(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from texts_of(inner)


def check(message: Message) -> None:
    assert message.format in {"json", "xmlrpc", "form"}
    assert message.is_array or len(message.elements) == 1
    for element in message.elements:
        if isinstance(element, BadElement):
            msgspec.json.decode(element.text)
            continue
        for text in texts_of([element.fields, element.notes]):
            assert "\0" not in text
            text.encode()
        msgspec.json.encode(element.fields)


def read_anything(body: bytes, content_type: str | None) -> None:
    try:
        check(read_body(body, content_type))
    except Unreadable as error:
        assert 0 < len(str(error).encode()) < 300  # noqa: PT017 - both outcomes are right, and each has its shape
    assert guess_format(body) in {"json", "xmlrpc", "form"}


content_types = (
    st.none() | st.text() | st.sampled_from(["a; charset=windows-1255", "a; charset=utf-16", "a; charset=rot13"])
)


@settings(deadline=None, max_examples=300)
@given(
    start=st.sampled_from([b"", b"{", b"[", b"<", b"a=", b"\xff\xfe", b"\xef\xbb\xbf"]),
    rest=st.binary(),
    content_type=content_types,
)
def test_any_bytes_are_a_message_or_unreadable(start: bytes, rest: bytes, content_type: str | None) -> None:
    read_anything(start + rest, content_type)


@settings(deadline=None, max_examples=400)
@given(body=damaged(), content_type=content_types)
def test_damaged_bodies_are_a_message_or_unreadable(body: bytes, content_type: str | None) -> None:
    read_anything(body, content_type)


@settings(deadline=None, max_examples=100)
@given(query=st.binary())
def test_any_query_has_fields(query: bytes) -> None:
    check(Message("form", is_array=False, elements=[read_query(query)]))


def xml_value(value: bytes) -> bytes:
    member = b"<member><name>a</name><value>" + value + b"</value></member>"
    return b"<methodCall><params><param><value><struct>" + member + b"</struct></value></param></params></methodCall>"


MEGABYTES = 4 << 20


def filled(start: bytes, pattern: bytes, end: bytes = b"") -> bytes:
    return start + pattern * (MEGABYTES // len(pattern)) + end


HOSTILE = {
    "open brackets": filled(b"", b"["),
    "open objects": filled(b"", b'{"a":'),
    "brackets in strings": filled(b"[", b'"[",', b'""]'),
    "backslashes": filled(b'["', b"\\", b'"]'),
    "long whole number": filled(b"[", b"9", b"]"),
    "long fraction": filled(b"[0.", b"9", b"]"),
    "long exponent": filled(b"[1e", b"9", b"]"),
    "escaped nul": filled(b'{"a":"', b"\\u0000", b'"}'),
    "lone surrogates": filled(b'{"a":"', b"\\ud800", b'"}'),
    "surrogate pairs of three bytes": filled(b'{"a":"', b"\xed\xa0\xbd\xed\xb8\x80", b'"}'),
    "lone surrogates in utf-16": filled(b"{\0", b"\0\xd8"),
    "lone surrogates in utf-32": filled(b"{\0\0\0", b"\0\xd8\0\0"),
    "not a number": filled(b"[", b"NaN,", b"1]"),
    "undefined bytes": filled(b'{"a":"', b"\xff", b'"}'),
    "repeated keys": b"{" + b",".join([b'"a":1,"a":2'] * 240_000) + b"}",
    "repeated keys inside": b'{"a":[' + b",".join([b'{"b":1,"b":2}'] * 160_000) + b"]}",
    "keys": b'{"a":{' + b",".join(b'"%d" :1' % number for number in range(499_000)) + b"}}",
    "objects to mend": b'{"b":NaN,"a":[' + b",".join([b'{"b":{}}'] * 160_000) + b"]}",
    "fractions": b'{"a":[' + b"1.5," * 999_000 + b"1]}",
    "digits in step": filled(b'{"a":["', b"1" * 49 + b'","', b'"]}'),
    "structs": b"<methodCall><params>"
    + b"<param><value><struct/></value></param>" * 70_000
    + b"</params></methodCall>",
    "lines": filled(b"<a>", b"\r", b"</a>"),
    "long names": filled(b"a", b"_") + b"=1&" + filled(b"b", b"x") + b"=1",
    "plus signs": filled(b"a=", b"+"),
    "open tags": filled(b"", b"<a>"),
    "empty tags": filled(b"<a>", b"<a/>"),
    "attributes": filled(b"<a ", b'a="" '),
    "open tag name": filled(b"<", b"a"),
    "open cdata": filled(b"<a>\0", b"<![CDATA["),
    "open comments": filled(b"", b"<!--", b"<!DOCTYPE"),
    "open instructions": filled(b"", b"<?a ", b"<!DOCTYPE"),
    "entities": filled(b'<!DOCTYPE a [<!ENTITY b "c">]><a>', b"&b;"),
    "undefined entities": filled(b"<a>", b"&b;"),
    "raw nul in xml": filled(b"<a>", b"\0", b"</a>"),
    "forbidden references": filled(b"<a>", b"&#0;", b"</a>"),
    "prefixes": filled(b"<a>\0", b"<a:", b"</a>"),
    "blanks of an int": xml_value(filled(b"<int>", b" ", b"x</int>")),
    "digits of an int": xml_value(filled(b"<int>", b"9", b"</int>")),
    "digits of a double": xml_value(filled(b"<double>", b"9", b"</double>")),
    "equals signs": filled(b"", b"="),
    "ampersands": filled(b"a=", b"&"),
    "percent signs": filled(b"a=", b"%"),
    "half escapes": filled(b"a=", b"%4z"),
    "escapes": filled(b"a=", b"%d7%90"),
    "blanks": filled(b"", b" "),
    "nul": filled(b"", b"\0"),
}


# As many bytes that hurt nobody, to tell how fast the machine is just now.
PLAIN = filled(b"[", b"1.5,", b"1]")


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_megabytes_made_to_hurt_cost_a_moment(body: bytes) -> None:
    started = time.process_time()
    try:
        read_body(body)
    except Unreadable as error:
        assert len(str(error)) < 300  # noqa: PT017 - some of these are legal, and only slow to read
    took = time.process_time() - started

    started = time.process_time()
    json.loads(PLAIN)
    # The slowest takes some 15 times as long; anything quadratic would take thousands of times.
    assert took < 150 * (time.process_time() - started)
