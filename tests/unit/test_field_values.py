"""Each reader gives a value that its column takes, or None and one line that says why; none of them raises."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import field_values as read

READERS = [
    read.text,
    read.call_id,
    read.seconds,
    read.epoch,
    read.acd_queue_id,
    read.price,
    read.switch,
    read.web_address,
    read.json_value,
    read.json_object,
    read.menu_path,
]
NUMBER_READERS = [read.seconds, read.epoch, read.acd_queue_id, read.price]
BOUNDS = [0, 2**31 - 1, read.TIME_MAX, 2**63 - 1, 10**18, -(2**63)]
EMPTY = [None, "", "  ", "\t\n", [], {}]
# Whole numbers as the decoders make them: 400 digits at most.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.decimals()
    | st.text()
    | st.decimals().map(str)
    | st.integers().map(str)
)
ANY_VALUE = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


def one_line(text: str) -> bool:
    return len(text.splitlines()) == 1 and text == text.strip() and len(text) <= 200


@given(ANY_VALUE)
@pytest.mark.parametrize("reader", READERS)
def test_no_value_makes_a_reader_raise(reader: read.Reader, value: Any) -> None:
    _, problem = reader(value)
    assert problem is None or one_line(problem)


@pytest.mark.parametrize("value", EMPTY)
@pytest.mark.parametrize("reader", READERS)
def test_an_empty_value_is_missing_without_a_problem(reader: read.Reader, value: Any) -> None:
    assert reader(value) == (None, None)


@pytest.mark.parametrize("reader", NUMBER_READERS)
@given(st.integers(-(10**20), 10**20) | st.builds(int.__add__, st.sampled_from(BOUNDS), st.integers(-1, 1)))
def test_a_whole_number_is_read_as_its_decimal_is(reader: read.Reader, value: int) -> None:
    reading, problem = reader(value)
    expected, expected_problem = reader(Decimal(value))
    assert (reading, type(reading), problem is None) == (expected, type(expected), expected_problem is None)


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("reader", [*NUMBER_READERS, read.text, read.call_id, read.web_address])
def test_true_and_false_are_no_number_and_no_text(reader: read.Reader, value: bool) -> None:
    reading, problem = reader(value)
    assert reading is None
    assert problem is not None


@pytest.mark.parametrize("value", [[1], {"a": 1}, ["x"]])
@pytest.mark.parametrize("reader", [*NUMBER_READERS, read.text, read.call_id, read.switch, read.web_address])
def test_a_list_or_object_where_a_scalar_belongs_is_a_problem(reader: read.Reader, value: Any) -> None:
    reading, problem = reader(value)
    assert reading is None
    assert problem is not None


@pytest.mark.parametrize("value", ["1e9999999", "-1e9999999", "1e-9999999", "9" * 500, Decimal("1e9999999"), 10**400])
@pytest.mark.parametrize("reader", NUMBER_READERS)
def test_a_number_beyond_all_bounds_is_a_problem(reader: read.Reader, value: Any) -> None:
    reading, problem = reader(value)
    assert reading is None
    assert problem is not None


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-inf", "abc", "1,234", "0x10", "1_000", "१२", "1 2"])
@pytest.mark.parametrize("reader", NUMBER_READERS)
def test_what_is_no_number_is_a_problem(reader: read.Reader, value: str) -> None:
    reading, problem = reader(value)
    assert reading is None
    assert problem is not None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" Walter ", "Walter"),
        (9996, "9996"),
        (10**30, "1" + "0" * 30),
        (Decimal("972722776772.50"), "972722776772.50"),
        (0, "0"),
        ("שירות", "שירות"),
    ],
)
def test_text_is_trimmed_and_numbers_are_their_digits(value: Any, expected: str) -> None:
    assert read.text(value) == (expected, None)


@pytest.mark.parametrize(
    "value", ["201809131615530APIAPI-APIAac40c3d53", "x" * 512, " a b ", "שיחה", 12345, "a\u2028b"]
)
def test_ids_of_any_shape_are_call_ids(value: Any) -> None:
    assert read.call_id(value) == (str(value).strip(), None)


@pytest.mark.parametrize("value", ["x" * 513, "a\nb", "a\x00b", "a\x7fb", "a\x9fb"])
def test_an_id_too_long_or_with_control_characters_is_no_call_id(value: str) -> None:
    reading, problem = read.call_id(value)
    assert reading is None
    assert problem is not None
    assert problem.startswith("not a call id: ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (33, 33),
        ("33", 33),
        (" 33 ", 33),
        (Decimal("33.5"), 34),
        ("0.49", 0),
        (2**31 - 1, 2**31 - 1),
        ("1e3", 1000),
    ],
)
def test_seconds_are_whole_and_fractions_are_rounded(value: Any, expected: int) -> None:
    assert read.seconds(value) == (expected, None)


@pytest.mark.parametrize("value", [-1, "-1", 2**31, "2147483647.5", Decimal("-0.1")])
def test_seconds_outside_their_range_are_a_problem(value: Any) -> None:
    assert read.seconds(value) == (None, f"not a number of seconds: {read.shown(value)}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1536855354, 1536855354),
        ("1536855354", 1536855354),
        (Decimal("1536855354.9"), 1536855354),
        (1, 1),
        (4102444800, 4102444800),
    ],
)
def test_a_time_is_whole_seconds_and_a_fraction_is_cut(value: Any, expected: int) -> None:
    assert read.epoch(value) == (expected, None)


@pytest.mark.parametrize("value", [1536855354123, "1536855354123", Decimal("1536855354123.5")])
def test_milliseconds_are_divided_and_said_so(value: Any) -> None:
    reading, problem = read.epoch(value)
    assert reading == 1536855354
    assert problem is not None
    assert problem.startswith("milliseconds, divided by 1000: ")


@pytest.mark.parametrize("value", [0, -5, "0.5", 4102444801, 9_999_999_999_999, 10**13, "yesterday"])
def test_what_is_no_time_is_a_problem(value: Any) -> None:
    assert read.epoch(value) == (None, f"not a time: {read.shown(value)}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (12345, 12345),
        ("12345", 12345),
        (Decimal("5.0"), 5),
        (2**63 - 1, 2**63 - 1),
        (0, None),
        ("0", None),
        ("0.0", None),
    ],
)
def test_an_acd_queue_id_is_a_whole_number_and_0_is_none(value: Any, expected: int | None) -> None:
    assert read.acd_queue_id(value) == (expected, None)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "5.5", "sales"])
def test_what_is_no_bigint_is_no_acd_queue_id(value: Any) -> None:
    assert read.acd_queue_id(value) == (None, f"not an id: {read.shown(value)}")


@pytest.mark.parametrize("value", [7, -7, 0, Decimal("7.25"), "7.25", "-0.10", "999999999999999999"])
def test_a_price_keeps_its_sign_and_its_digits(value: Any) -> None:
    reading, problem = read.price(value)
    assert str(reading) == str(value)
    assert problem is None


@pytest.mark.parametrize("value", ["1000000000000000000", 10**18, "7 ILS"])
def test_what_is_no_price_is_a_problem(value: Any) -> None:
    assert read.price(value) == (None, f"not a price: {read.shown(value)}")


@pytest.mark.parametrize("value", [1, "1", True, "true", " True ", "TRUE"])
def test_yes_is_true(value: Any) -> None:
    assert read.switch(value) == (True, None)


@pytest.mark.parametrize("value", [0, "0", False, "false", "FALSE"])
def test_no_is_false(value: Any) -> None:
    assert read.switch(value) == (False, None)


@pytest.mark.parametrize("value", [2, "maybe", Decimal("1.5"), -1])
def test_neither_yes_nor_no_is_a_problem(value: Any) -> None:
    assert read.switch(value) == (None, f"not 0 or 1: {read.shown(value)}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("http://store.invalid/a.mp3", "http://store.invalid/a.mp3"),
        ("HTTPS://store.invalid/a.mp3", "HTTPS://store.invalid/a.mp3"),
        ("http://store.invalid/xxxx-\n  aws-1.mp3", "http://store.invalid/xxxx-aws-1.mp3"),
    ],
)
def test_white_space_in_an_address_is_removed(value: str, expected: str) -> None:
    assert read.web_address(value) == (expected, None)


@pytest.mark.parametrize("value", ["ftp://store.invalid/a", "javascript:alert(1)", "a.mp3", "//store.invalid/a", 5])
def test_only_http_and_https_are_addresses(value: Any) -> None:
    assert read.web_address(value) == (None, f"not an http address: {read.shown(str(value))}")


@pytest.mark.parametrize("value", [{"a": 1}, '{"a": 1}', ' {"a":1} '])
def test_json_may_come_as_itself_or_as_its_text(value: Any) -> None:
    assert read.json_value(value) == ({"a": 1}, None)


@pytest.mark.parametrize("value", ["null", '""', "[]", "{}"])
def test_json_text_that_says_nothing_is_missing(value: str) -> None:
    assert read.json_value(value) == (None, None)


@pytest.mark.parametrize("value", [5, True, Decimal("1.5"), "5", "true", '"text"'])
def test_json_that_is_no_object_and_no_list_is_a_problem(value: Any) -> None:
    assert read.json_value(value) == (None, f"not an object or list: {read.shown(value)}")


def test_text_that_is_no_json_is_a_problem_that_says_where() -> None:
    assert read.json_value('{"a":}') == (None, "no JSON: Expecting value at line 1, column 6")


def test_json_that_was_mended_is_taken_with_a_remark() -> None:
    assert read.json_value(r'{"a": "b\u0000"}') == ({"a": "b"}, "NUL removed")


def test_an_object_is_not_a_list() -> None:
    assert read.json_object("[1]") == (None, "not an object: '[1]'")


def test_layers_come_in_the_order_in_which_they_were_heard() -> None:
    layers = [{"dtmf_order": "2", "n": 1}, {"n": 2}, {"dtmf_order": 1, "n": 3}, {"dtmf_order": 1, "n": 4}]
    assert [layer["n"] for layer in read.menu_path(layers)[0]] == [3, 4, 1, 2]


@pytest.mark.parametrize("value", [{"layer_id": 1}, [1, 2], "[1]", [{"layer_id": 1}, None]])
def test_what_is_no_list_of_layers_is_a_problem(value: Any) -> None:
    assert read.menu_path(value) == (None, f"not a list of layers: {read.shown(value)}")


def test_a_long_value_is_shown_cut_short() -> None:
    assert read.shown("x" * 10_000) == f"'{'x' * 59}..."


@pytest.mark.parametrize("value", [0, False, "0", [0], {"a": None}, Decimal(0)])
def test_zero_and_false_are_values(value: Any) -> None:
    assert not read.is_empty(value)
