"""JSON bodies."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Unreadable
from common.wire import BadElement, Fields, read_body, read_json_text

# What stands inside a text, or a number, and what is around them: some of it is no JSON, and some has to be mended.
INSIDE = [
    "\\u0000",
    "\\ud83d",
    "\\ude00",
    "\\n",
    "\\x",
    "\x01",
    "\0",
    "\ud800",
    "ש",
    "1",
    "-0",
    "0.50",
    "1e5",
    "1E-400",
    "9" * 401,
]
AROUND = ["{", "}", "[", "]", ",", ":", '"', '"b":', " ", "NaN", "true", "[" * 65]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
JSON_TEXTS = (
    st.lists(st.sampled_from(INSIDE), max_size=3)
    .map("".join)
    .flatmap(lambda part: st.sampled_from([f'["{part}"]', f"[{part}]"]))
    | st.lists(st.sampled_from(INSIDE + AROUND)).map("".join)
    | st.builds(json.dumps, VALUES, ensure_ascii=st.booleans())
)


def fields_of(body: bytes | str, content_type: str | None = None) -> Fields:
    message = read_body(body.encode() if isinstance(body, str) else body, content_type)
    assert message.format == "json"
    (element,) = message.elements
    assert isinstance(element, Fields)
    return element


def values_of(body: bytes | str) -> dict[str, Any]:
    element = fields_of(body)
    assert element.notes == ()
    return element.fields


def error_of(body: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        read_body(body)
    return str(caught.value)


def test_each_json_type_keeps_its_value() -> None:
    body = '{"text": "שלום", "whole": -7, "yes": true, "nothing": null, "list": [1, {"a": "b"}]}'

    assert values_of(body) == {"text": "שלום", "whole": -7, "yes": True, "nothing": None, "list": [1, {"a": "b"}]}


def test_a_fraction_keeps_its_digits() -> None:
    price = values_of('{"price": 1.50}')["price"]

    assert isinstance(price, Decimal)
    assert str(price) == "1.50"


def test_an_array_has_an_element_for_each_of_its_objects() -> None:
    message = read_body(b'[{"a": 1}, {"a": 2}]')

    assert message.is_array
    assert message.elements == [Fields({"a": 1}), Fields({"a": 2})]


def test_an_empty_array_is_an_array_without_elements() -> None:
    message = read_body(b"[]")

    assert message.is_array
    assert message.elements == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("3", "a number"),
        ("1.50", "a number"),
        ('"x"', "a text"),
        ("null", "null"),
        ("false", "true or false"),
        ("[1]", "an array"),
    ],
)
def test_an_element_that_is_no_object_is_bad_by_itself(text: str, kind: str) -> None:
    good, bad = read_body(f'[{{"a": 1}}, {text}]'.encode()).elements

    assert good == Fields({"a": 1})
    assert bad == BadElement(f"{kind}, not an object", text.encode())


def test_a_bad_element_of_a_mended_array_can_be_kept_as_json() -> None:
    assert read_body(rb'["\ud800"]').elements == [BadElement("a text, not an object", '"\ufffd"'.encode())]


def test_raw_control_characters_in_a_text_are_kept() -> None:
    assert values_of('{"a": "x\n\t\x01y"}') == {"a": "x\n\t\x01y"}


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_in_json_becomes_text(text: str) -> None:
    assert values_of(f'{{"a": {text}}}') == {"a": text}


@pytest.mark.parametrize(
    ("body", "lost"),
    [
        ('{"a": 1, "a": 2}', "1"),
        ('{"a": "05", "b": {}, "a": 2}', "'05'"),
        ('{"a" : 1, "a" : 2}', "1"),
        ('{"a": NaN, "a": 2}', "'NaN'"),
        ('{"a": 1.50, "a": 2}', "'1.50'"),
        (r'{"b": "{\"x\":1}", "a": 1, "a": 2}', "1"),
        (r'{"b": "\\", "a": 1, "a": 2}', "1"),
        ('{"a": 2, "a": 0, "a": 1, "a": 2}', "1"),
    ],
)
def test_the_last_of_a_repeated_key_stands_and_a_note_tells_of_the_other(body: str, lost: str) -> None:
    element = fields_of(body)

    assert element.fields["a"] == 2
    assert element.notes == (f"a: sent more than once: the last stands, not {lost}",)


@pytest.mark.parametrize(
    "body",
    [
        '{"a": 1, "a": 1}',
        '{"a": [{"b": 1}, {"b": 2}], "b": {"a": 1}}',
        r'{"a": "\":\":", "b": {"c\\":1}}',
        '{"a" : 1, "b" :2}',
        r'{"\"": 1, "\\\"": 2}',
    ],
)
def test_nothing_is_noted_where_nothing_was_lost(body: str) -> None:
    assert fields_of(body).notes == ()


def test_a_repeated_key_inside_of_a_field_is_told_with_the_field() -> None:
    element = fields_of('{"x": 1, "aiData": [{"b": {"c": "first", "c": "last"}}]}')

    assert element.fields["aiData"] == [{"b": {"c": "last"}}]
    assert element.notes == ("aiData: 'c' in it was sent more than once: the last stands, not 'first'",)


def test_a_repeated_key_is_told_with_its_own_element() -> None:
    first, _, third = read_body(b'[{"a": 1}, 5, {"a": 1, "a": 2}]').elements

    assert first == Fields({"a": 1})
    assert third == Fields({"a": 2}, ("a: sent more than once: the last stands, not 1",))


def test_a_repeated_key_of_a_mended_body_is_told_in_text_that_can_be_stored() -> None:
    element = fields_of(rb'{"a\u0000": "\ud800", "a\u0000": "\u0000"}')

    assert element.fields == {"a": ""}
    told = "a: sent more than once: the last stands, not '\\ud800'"
    assert element.notes == ("a: NUL removed", told)


def test_keys_that_are_one_once_mended_are_told() -> None:
    element = fields_of(rb'{"a\u0000": "first", "a": "last", "b": {"c": 1, "c\u0000": 2}}')

    assert element.fields == {"a": "last", "b": {"c": 2}}
    inside = ("b: NUL removed", "b: names in it became one, of which the last stands")
    assert element.notes == ("a: NUL removed", *inside, "a: sent more than once: the last stands, not 'first'")


def test_of_many_repeated_keys_20_are_told_and_the_rest_counted() -> None:
    body = "{" + ",".join(f'"{number % 50}": {number}' for number in range(100)) + "}"

    *notes, rest = fields_of(body).notes
    assert [note.partition(":")[0] for note in notes] == [str(number) for number in range(20)]
    assert rest == "19: one of 50 names that were sent more than once"


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("9" * 400, int("9" * 400)),
        ("-" + "9" * 400, -int("9" * 400)),
        ("9" * 401, "9" * 401),
        ("9" * 5000, "9" * 5000),
        ("0." + "1" * 399, Decimal("0." + "1" * 399)),
        ("0." + "1" * 400, "0." + "1" * 400),
        ("1e300", Decimal("1e300")),
        ("1e301", "1e301"),
        ("-1E-301", "-1E-301"),
        ("1e99999999999999999999", "1e99999999999999999999"),
        ("-0", 0),
    ],
)
def test_a_number_beyond_any_use_is_kept_as_its_text(number: str, value: object) -> None:
    assert values_of(f'{{"a": {number}}}') == {"a": value}


def test_nul_is_removed_from_texts_and_keys_at_any_depth_and_noted_once_a_field() -> None:
    element = fields_of(rb'{"caller": "05\u00004\u0000", "b\u0000": [{"c\u0000": "d\u0000"}], "e": "f"}')

    assert element.fields == {"caller": "054", "b": [{"c": "d"}], "e": "f"}
    assert element.notes == ("caller: NUL removed", "b: NUL removed")


def test_a_raw_nul_in_a_text_is_removed_and_noted() -> None:
    assert fields_of(b'{"a": "x\0y"}') == Fields({"a": "xy"}, ("a: NUL removed",))


def test_half_a_surrogate_pair_becomes_the_replacement_character_and_is_noted() -> None:
    element = fields_of(rb'{"a": "x\ud83d", "b": "\ud83d\ude00"}')

    assert element.fields == {"a": "x\ufffd", "b": "😀"}
    assert element.notes == ("a: broken characters replaced by U+FFFD",)


def test_surrogates_that_were_encoded_one_by_one_are_joined() -> None:
    body = '{"a": "\ud83d\ude00 \ud83d"}'.encode("utf-8", "surrogatepass")

    assert fields_of(body).fields == {"a": "😀 \ufffd"}


@pytest.mark.parametrize("surrogate", [b"\xed\xa0\x80", b"\xed\xb2\x80", b"\xed\xbf\xbf"])
def test_a_lone_surrogate_that_was_encoded_is_mended_and_noted(surrogate: bytes) -> None:
    element = fields_of(b'{"a": "' + surrogate + b'"}')

    assert element == Fields({"a": "\ufffd"}, ("a: broken characters replaced by U+FFFD",))


def test_a_note_never_carries_a_whole_long_key() -> None:
    (note,) = fields_of(b'{"' + b"k" * 5000 + rb'": "\u0000"}').notes

    assert note == "k" * 100 + ": NUL removed"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"a": 1,}', "line 1, column"),
        (b'{\n"a": x}', "line 2, column 6"),
        (b'{"a": 1} {"b": 2}', "Extra data at line 1, column 10"),
        (b'{"a": "x', "line 1, column 7"),
        (b'{"a": 01}', "line 1, column 8"),
        (b"{'a': 1}", "line 1, column 2"),
    ],
)
def test_what_is_no_json_is_unreadable_and_says_where(body: bytes, where: str) -> None:
    error = error_of(body)

    assert error.startswith("no JSON: ")
    assert where in error


def test_brackets_inside_of_texts_are_no_nesting() -> None:
    text = r"[{\"\\" * 100

    assert values_of(f'{{"IVR": "{text}"}}') == {"IVR": r'[{"\ '.strip() * 100}


def test_values_may_nest_64_deep_and_no_deeper() -> None:
    assert values_of('{"a":' + "[" * 63 + "]" * 63 + "}")
    assert error_of(b'{"a":' + b"[" * 64 + b"]" * 64 + b"}") == "JSON nested more than 64 deep"


@pytest.mark.parametrize("key", [r"\\", r"\"", r"\\\"", "[", "]]]]"])
def test_no_text_hides_what_nests_too_deep_after_it(key: str) -> None:
    assert error_of(f'{{"{key}":'.encode() + b"[" * 64 + b"]" * 64 + b"}") == "JSON nested more than 64 deep"


def test_many_brackets_side_by_side_are_no_nesting() -> None:
    assert len(values_of('{"a": [' + "[]," * 500 + "[]]}")["a"]) == 501


def test_an_array_may_hold_10_000_elements_and_no_more() -> None:
    assert len(read_body(b"[" + b"{}," * 9_999 + b"{}]").elements) == 10_000
    assert error_of(b"[" + b"{}," * 10_000 + b"{}]") == "an array of 10,001 elements, more than 10,000"


def test_a_cdr_may_hold_2_000_fields_and_no_more() -> None:
    def body(count: int) -> bytes:
        return b"{" + b",".join(b'"%d":0' % number for number in range(count)) + b"}"

    assert len(values_of(body(2_000))) == 2_000
    assert error_of(body(2_001)) == "an object of 2,001 fields, more than 2,000"
    (bad,) = read_body(b"[" + body(2_001) + b"]").elements
    assert isinstance(bad, BadElement)
    assert bad.text == body(2_001)


def test_a_body_of_millions_of_values_is_refused_before_it_is_parsed() -> None:
    assert error_of(b'{"a":[' + b"0," * 1_000_000 + b"0]}") == "more than 1,000,000 values in one body"


def test_a_body_that_needs_mending_may_hold_half_as_many_values() -> None:
    assert error_of(b'{"b":NaN,"a":[' + b"0," * 500_000 + b"0]}") == "more than 500,000 values in one body"


@pytest.mark.parametrize("digits", [400, 401])
def test_a_long_number_is_found_wherever_it_stands(digits: int) -> None:
    numbers = "7" * digits
    for start in range(50):
        values = values_of(f'{{"a": [{"1," * start}{numbers}, 12345678]}}')["a"]
        assert values[-2] == (int(numbers) if digits == 400 else numbers)


@given(JSON_TEXTS)
def test_json_inside_a_field_is_read_at_once_as_it_is_with_care(text: str) -> None:
    with patch("common.wire.json_body._decode_plain", side_effect=ValueError):
        with_care = read_json_text(text)
    assert repr(read_json_text(text)) == repr(with_care)


def test_plain_json_inside_a_field_is_read_at_once() -> None:
    with patch("common.wire.json_body._parse", side_effect=AssertionError):
        assert read_json_text('[{"layer_id": 3, "price": 0.50}]') == ([{"layer_id": 3, "price": Decimal("0.50")}], None)
