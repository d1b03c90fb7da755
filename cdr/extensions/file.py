"""Reads a CSV file of extensions line by line, so that a bad line is named and costs only itself."""

from __future__ import annotations

import csv
import io
import unicodedata
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from typing import NamedTuple

from common.errors import Unreadable
from common.settings import is_account

COLUMNS = ("account", "extension_code", "extension_name", "valid_from")
_REQUIRED = ("extension_code", "extension_name")
_OPTIONAL = ("account", "valid_from")
# The code is part of an index entry, whose size PostgreSQL bounds; a name that is longer is none.
_LONGEST = 200
_DELIMITERS = (",", ";", "\t")
# From here on a name is taken for a slip: `acount` and `valid_form` are closer, `account_id` and `valid_to` are not.
_ALIKE = 0.85


@dataclass(frozen=True)
class Extension:
    """The name of one extension; `valid_from` is the day from which it holds, None for always."""

    account: str
    extension_code: str
    extension_name: str
    valid_from: date | None


class BadLine(NamedTuple):
    """A line that names no extension, by its number from 1, and why not."""

    line: int
    problem: str


class ReadFile(NamedTuple):
    """What a file says, what of it could not be read, and which of its columns nobody looked into."""

    extensions: list[Extension]
    bad: list[BadLine]
    unused: list[str]


def read_extensions(data: bytes, default_account: str) -> ReadFile:
    """Read a CSV file, as spreadsheets write it, with the names of the columns in its first line.

    It may be in UTF-8, windows-1255 or UTF-16, and separated by commas, semicolons or tabs. Columns of other names are left
    aside. Raises Unreadable when no line of it can be read, or a column has almost one of our names: what is in it would be lost.
    """
    lines = list(io.StringIO(_decode(data), newline=""))
    rows = _rows(lines, _delimiter(lines))
    columns = _columns(next(rows, (1, [])))
    extensions: dict[tuple[str, str, date | None], Extension] = {}
    bad: list[BadLine] = []
    for line, row in rows:
        try:
            extension = _extension(columns, row, default_account)
            _add(extensions, extension)
        except ValueError as error:
            bad.append(BadLine(line, str(error)))
    return ReadFile(list(extensions.values()), bad, [name for name in columns if name and name not in COLUMNS])


def _decode(data: bytes) -> str:
    encodings = ("utf-16",) if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else ("utf-8-sig", "cp1255")
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Unreadable("the file is neither UTF-8 nor windows-1255, nor UTF-16 that says so")


def _delimiter(lines: list[str]) -> str:
    """Return what separates the first line's columns: where a comma separates decimals, spreadsheets write semicolons."""
    first = next((line for line in lines if line.strip()), "")
    return max(_DELIMITERS, key=first.count)


def _rows(lines: list[str], delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield each line that is not blank with its number: its fields, or what is wrong with it.

    A text in quotes may go over several lines. Where that makes no sense, the line with the quote is wrong and the next one
    is read by itself: a quote that is never closed must not take the rest of the file with it.
    """
    width, place = 0, 0
    while place < len(lines):
        rest = map(lines.__getitem__, range(place, len(lines)))
        reader = csv.reader(rest, delimiter=delimiter, strict=True)
        row, length = _next_row(reader), reader.line_num
        if length > 1 and (isinstance(row, str) or (width and len(row) != width)):
            row, length = _next_row(csv.reader([lines[place]], delimiter=delimiter, strict=True)), 1
        width = width or len(row)
        if any(row):
            yield place + 1, row
        place += max(length, 1)


def _next_row(reader: Iterator[list[str]]) -> list[str] | str:
    try:
        return [field.strip() for field in next(reader)]
    except csv.Error as error:
        return str(error)


def _columns(header: tuple[int, list[str] | str]) -> list[str]:
    columns = [name.lower() for name in header[1]]
    # A column that is there under its own name is not meant by another one that is like it.
    open_names = [name for name in COLUMNS if name not in columns]
    for name in columns:
        if name not in COLUMNS and (meant := get_close_matches(name, open_names, 1, _ALIKE)):
            raise Unreadable(f"is the column {name!r} the {meant[0]}? Name it so, or if it is your own, less alike")
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        raise Unreadable(
            f"the first line must name the columns {' and '.join(_REQUIRED)}, and may name {' and '.join(_OPTIONAL)}; "
            f"it lacks {' and '.join(missing)}"
        )
    return columns


def _extension(columns: list[str], row: list[str] | str, default_account: str) -> Extension:
    """Read one line; raises ValueError that says what is wrong with it."""
    if isinstance(row, str):
        raise ValueError(row)  # noqa: TRY004 - what is wrong is the line's text, not a type
    if len(row) != len(columns):
        raise ValueError(f"{len(row)} fields where the first line has {len(columns)}")
    values = dict(zip(columns, row, strict=True))
    account = values.get("account") or default_account
    if not is_account(account):
        raise ValueError(f"{account!r} is no name of an account")
    code, name = (_text(values, column) for column in ("extension_code", "extension_name"))
    return Extension(account, code, name, _day(values.get("valid_from")))


def _text(values: dict[str, str], column: str) -> str:
    value = values[column]
    if not value:
        raise ValueError(f"{column} is empty")
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError(f"{column} holds a control character: {value!r}")
    if len(value) > _LONGEST:
        raise ValueError(f"{column} has more than {_LONGEST} characters")
    return value


def _day(text: str | None) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"valid_from {text!r} is no day such as 2026-01-31") from None


def _add(extensions: dict[tuple[str, str, date | None], Extension], extension: Extension) -> None:
    key = (extension.account, extension.extension_code, extension.valid_from)
    known = extensions.setdefault(key, extension)
    if known != extension:
        raise ValueError(f"{extension.extension_code} has another name in this file already: {known.extension_name!r}")
