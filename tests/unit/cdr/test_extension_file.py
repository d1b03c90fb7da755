"""A file of extensions may be as spreadsheets write it; a bad line is named and costs only itself."""

from __future__ import annotations

import codecs
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdr.extensions.file import read_extensions
from common.errors import Unreadable

HEADER = "extension_code,extension_name,valid_from\n"


def names(content: str | bytes) -> dict[str, str]:
    read = read_extensions(content if isinstance(content, bytes) else content.encode(), "default")
    return {extension.extension_code: extension.extension_name for extension in read.extensions}


def problems(content: str) -> list[tuple[int, str]]:
    return [(line.line, line.problem) for line in read_extensions(content.encode(), "default")[1]]


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: text.encode("cp1255"),
        lambda text: text.encode("utf-16"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    ],
    ids=["UTF-8", "UTF-8 with a mark", "windows-1255", "UTF-16", "UTF-16 the other way"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_is_read_in_the_encodings_that_spreadsheets_write(encode: object, end: str) -> None:
    assert callable(encode)
    assert names(encode(f"extension_code,extension_name{end}a1,קבלה{end}a2,Two{end}")) == {"a1": "קבלה", "a2": "Two"}


@pytest.mark.parametrize(("delimiter", "name"), [(",", "One, first"), (";", "One; first"), ("\t", "One, first")])
def test_columns_are_separated_by_what_separates_the_first_line(delimiter: str, name: str) -> None:
    assert names(f'extension_code{delimiter}extension_name\na1{delimiter}"{name}"\n') == {"a1": name}


@pytest.mark.parametrize(
    "content", [b"\xff\xfea", b"\xfe\xff", b"\x81\xff", b"\n\n", b"\x00\x01", b"PK\x03\x04\x00\xff"]
)
def test_what_is_no_such_file_is_refused_as_a_whole(content: bytes) -> None:
    with pytest.raises(Unreadable):
        read_extensions(content, "default")


def test_a_quote_that_is_never_closed_costs_its_own_line() -> None:
    content = f'{HEADER}a1,One,\na2,"Two,\na3,Three,\na4,Four,\n'
    assert names(content) == {"a1": "One", "a3": "Three", "a4": "Four"}
    assert problems(content) == [(3, "unexpected end of data")]


def test_a_quote_that_another_line_seems_to_close_costs_its_own_line() -> None:
    content = f'{HEADER}a1,"One,\na2,"Two",\na3,Three,\n'
    assert names(content) == {"a2": "Two", "a3": "Three"}
    assert [line for line, _ in problems(content)] == [2]


def test_a_line_that_ends_elsewhere_with_too_many_fields_costs_itself_only() -> None:
    content = f'{HEADER}a1,"One,\na2,Two,\n",,,\na3,Three,\n'
    assert names(content) == {"a2": "Two", "a3": "Three"}
    assert [line for line, _ in problems(content)] == [2, 4]


def test_a_note_of_several_lines_is_one_field() -> None:
    content = 'extension_code,note,extension_name\na1,"first\nsecond\n",One\na2,,\n'
    assert names(content) == {"a1": "One"}
    assert problems(content) == [(5, "extension_name is empty")]


def test_separators_of_text_that_end_no_line_stay_in_the_name() -> None:
    assert names(f"{HEADER}a1,One\u2028Two,\na2,Three,\n") == {"a1": "One\u2028Two", "a2": "Three"}


def test_the_same_line_twice_is_no_problem_and_another_name_is() -> None:
    content = f"{HEADER}a1,One,\na1,One,\na1,Uno,\na1,Uno,2026-01-31\n"
    assert problems(content) == [(4, "a1 has another name in this file already: 'One'")]
    assert [each.valid_from for each in read_extensions(content.encode(), "default")[0]] == [None, date(2026, 1, 31)]


@pytest.mark.parametrize("column", ["extension_code", "extension_name"])
def test_texts_that_are_too_long_are_named(column: str) -> None:
    code, name = ("x" * 201, "One") if column == "extension_code" else ("a1", "x" * 201)
    assert problems(f"{HEADER}{code},{name},\n") == [(2, f"{column} has more than 200 characters")]
    assert names(f"{HEADER}{'x' * 200},{'y' * 200},\n")


def test_many_lines_with_open_quotes_are_read_in_one_go() -> None:
    content = HEADER + "".join(f'a{number},"Name,\n' for number in range(20_000)) + "b,Last,\n"
    assert names(content) == {"b": "Last"}
    assert len(problems(content)) == 20_000


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        ("acount", "account"),
        ("Accounts", "account"),
        ("valid_form", "valid_from"),
        ("valid-from", "valid_from"),
        ("Valid From", "valid_from"),
        ("validfrom", "valid_from"),
    ],
)
def test_a_column_with_almost_one_of_our_names_is_refused(column: str, meant: str) -> None:
    with pytest.raises(Unreadable, match=rf"^is the column '{column.lower()}' the {meant}\?"):
        read_extensions(f"extension_code,extension_name,{column}\na1,One,x\n".encode(), "default")


def test_a_slip_in_a_column_that_is_required_is_told_as_one() -> None:
    with pytest.raises(Unreadable, match=r"^is the column 'extension_nane' the extension_name\?"):
        read_extensions(b"extension_code,extension_nane\na1,One\n", "default")


def test_columns_of_ones_own_are_told_and_left_aside() -> None:
    read = read_extensions(b"note,valid_to,,account_id,extension_code,extension_name\na,b,c,d,a1,One\n", "default")
    assert [each.extension_name for each in read.extensions] == ["One"]
    assert read.unused == ["note", "valid_to", "account_id"]


def test_a_column_is_no_slip_for_one_that_is_there() -> None:
    read = read_extensions(b"account,accounts,extension_code,extension_name\n,a,a1,One\n", "default")
    assert read.unused == ["accounts"]


LINES = st.lists(st.text('a1,;"\t \u05d0\x00', max_size=12), max_size=12)


@given(LINES, st.sampled_from(["\n", "\r\n"]))
def test_a_good_line_after_any_lines_without_open_quotes_is_read(lines: list[str], end: str) -> None:
    content = end.join([HEADER.strip(), *(line.replace('"', "") for line in lines), "z9,Last,", ""])
    assert names(content)["z9"] == "Last"


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(data: bytes) -> None:
    try:
        read_extensions(data, "default")
        read_extensions(HEADER.encode() + data, "default")
    except Unreadable:
        pass
