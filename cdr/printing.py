"""What the commands print: one JSON document for programs, tables for people."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import msgspec

ROWS_FOR_PEOPLE = 200
# Wide enough for ids and reasons where no terminal says how wide it is.
_WIDTH_WITHOUT_TERMINAL = 200

_encode = msgspec.json.Encoder(decimal_format="number").encode


def print_json(document: object) -> None:
    """Print one document, indented; numbers keep their digits."""
    sys.stdout.write(msgspec.json.format(_encode(document), indent=2).decode() + "\n")


def print_json_list(items: Iterable[object]) -> None:
    """Print one JSON list, an item a line, without holding more than one item."""
    separator = "["
    for item in items:
        sys.stdout.write(f"{separator}\n{_encode(item).decode()}")
        separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "\n]\n")


def print_list(
    items: Iterable[Any],
    columns: Sequence[str],
    to_row: Callable[[Any], Iterable[object]],
    *,
    as_json: bool,
    limit: int | None = None,
) -> None:
    """Print items as a JSON list, or as a table with what `to_row` makes of each: the first 200, or up to `limit`."""
    if as_json:
        print_json_list(items)
        return
    remaining = iter(items)
    print_table(columns, [to_row(item) for item in islice(remaining, ROWS_FOR_PEOPLE if limit is None else limit)])
    if next(remaining, None) is not None:
        sys.stderr.write(f"only the first {ROWS_FOR_PEOPLE} are shown; --limit shows more, --json all\n")


def print_table(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table; None is an empty cell, and no cell is cut off."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*(Text("" if cell is None else printable(str(cell))) for cell in row))
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        console.width = _WIDTH_WITHOUT_TERMINAL
    console.print(table)


def print_count(count: int, what: str) -> None:
    """Print a count: with its meaning on a terminal, by itself for a script."""
    sys.stdout.write(f"{count:,} {what}\n" if sys.stdout.isatty() else f"{count}\n")


def printable(text: str) -> str:
    """Escape what would steer a terminal: control characters of a body that anybody may have sent."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in {"Cc", "Cs"} and character not in "\n\t"
        else character
        for character in text
    )
