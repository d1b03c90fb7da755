"""What the commands print: one JSON document for programs, lines and tables for people; nothing in it steers a terminal."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from cdr.moments import show_moment
from common.terminal import one_line, printable, printable_json

ROWS_FOR_PEOPLE = 200
# Where no terminal says how wide it is each row is a line, however long, for `grep` and `less -S`.
_WIDTH_WITHOUT_TERMINAL = 1_000_000

_encode = msgspec.json.Encoder(decimal_format="number").encode


def print_json(document: object) -> None:
    """Print one document, indented; numbers keep their digits."""
    sys.stdout.write(printable_json(msgspec.json.format(_encode(document), indent=2).decode()) + "\n")


def print_json_list(items: Iterable[object]) -> None:
    """Print one JSON list, an item a line, without holding more than one item."""
    separator = "["
    for item in items:
        sys.stdout.write(f"{separator}\n{printable_json(_encode(item).decode())}")
        separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "\n]\n")


def print_json_list_in(name: str, items: Iterable[object], after: Callable[[], dict[str, object]]) -> None:
    """Print one JSON object: the list under a name, and what can be told `after` its last item, without holding the items."""
    sys.stdout.write(f"{{{_encode(name).decode()}: ")
    print_json_list(items)
    for key, value in after().items():
        sys.stdout.write(f", {printable_json(_encode(key).decode())}: {printable_json(_encode(value).decode())}")
    sys.stdout.write("}\n")


def print_list(
    items: Iterable[Any],
    columns: Sequence[str],
    to_row: Callable[[Any], Iterable[object]],
    *,
    as_json: bool,
    limit: int | None = None,
    order: str = "first",
    hint: str = "",
) -> None:
    """Print up to `limit` items as a JSON list, or as a table with what `to_row` makes of each, without a limit the first 200.

    `items` are all of them, so that people are told when there are more: which are shown by the word `order`, and a `hint`.
    """
    remaining = iter(items)
    if as_json:
        print_json_list(islice(remaining, limit))
        return
    shown = ROWS_FOR_PEOPLE if limit is None else limit
    print_table(columns, [to_row(item) for item in islice(remaining, shown)])
    if next(remaining, None) is not None:
        more = "--limit shows more, --json all" if limit is None else "a higher --limit shows more"
        which = f"{order} is" if shown == 1 else f"{order} {shown:,} are"
        print_warning("; ".join(filter(None, (f"only the {which} shown", hint, more))))


def print_table(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table, of a line a row where it goes to no terminal.

    None is an empty cell, no cell is cut off, and a line feed in one makes no line.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*(Text(one_line(_cell(value))) for value in row))
    console = Console(file=sys.stdout)
    if console.is_terminal:
        console.print(table)
        return
    console.width = _WIDTH_WITHOUT_TERMINAL
    with console.capture() as captured:
        console.print(table)
    # The last column is filled up with blanks to its longest cell.
    sys.stdout.writelines(f"{line.rstrip(' ')}\n" for line in captured.get().removesuffix("\n").split("\n"))


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return show_moment(value)
    return "" if value is None else str(value)


def counted(number: int, what: str) -> str:
    """Name a number of things, one of them without the s."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def print_count(count: int, one: str, many: str, *, as_json: bool) -> None:
    """Print a sentence that begins with a count and goes on as fits one, or as fits any other number; or `{"count": ...}`.

    In a pipe the number goes by itself to stdout, for a script, and the sentence to stderr.
    """
    sentence = f"{count:,} {one if count == 1 else many}"
    if as_json:
        print_json({"count": count})
    elif sys.stdout.isatty():
        print_line(sentence)
    else:
        print_line(str(count))
        print_warning(sentence)


def print_line(line: str = "") -> None:
    """Print one line, whatever is in it."""
    sys.stdout.write(one_line(line) + "\n")


def print_text(text: str) -> None:
    """Print text of several lines."""
    sys.stdout.write(printable(text) + "\n")


def print_warning(text: str) -> None:
    """Print text on standard error."""
    sys.stderr.write(printable(text) + "\n")


def print_csv(rows: Iterable[Iterable[str]]) -> None:
    """Print rows as CSV: to the letter, except on a terminal."""
    on_terminal = sys.stdout.isatty()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerows([one_line(cell) for cell in row] if on_terminal else row for row in rows)


def print_bytes(data: bytes) -> bool:
    """Print bytes as they are; False, and nothing printed, when a terminal would get them."""
    if sys.stdout.isatty():
        return False
    sys.stdout.buffer.write(data)
    return True
