"""The options that the commands on lists share, and what all of them do with wrong ones."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cdr.moments import read_moment, show_moment
from cdr.printing import print_warning


def _moment(text: str) -> datetime:
    try:
        return read_moment(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _in_order(context: typer.Context, option: typer.CallbackParam, moment: datetime | None) -> datetime | None:
    """End the command when it is asked for a time that ends before it begins: of two options the later one sees both."""
    given = {**context.params, str(option.name): moment}
    since, until = given.get("since"), given.get("until")
    if since is not None and until is not None and since > until:
        wrong_usage(f"--since ({show_moment(since)}) is later than --until ({show_moment(until)})")
    return moment


_WHEN = "an ISO time (local unless it has an offset), or an age: 30m, 2h, 7d"

Reason = Annotated[str | None, typer.Option(help="only those with this reason")]
Since = Annotated[
    datetime | None,
    typer.Option(parser=_moment, callback=_in_order, metavar="TIME", help=f"from then on: {_WHEN}"),
]
Until = Annotated[
    datetime | None,
    typer.Option(parser=_moment, callback=_in_order, metavar="TIME", help="up to then, written likewise"),
]
Limit = Annotated[int | None, typer.Option(min=0, help="at most so many, the oldest first")]
Data = Annotated[Path | None, typer.Option(help="by the settings of the cdr up that runs on this folder")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON document and nothing else")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only count, change nothing")]
Everything = Annotated[bool, typer.Option("--all", help="act on everything when no filter is given")]
Rate = Annotated[float | None, typer.Option(min=0.01, help="at most so many a second")]


def wrong_usage(message: str) -> NoReturn:
    """End the command with one line on standard error and exit code 2."""
    print_warning(f"cdr: {message}")
    raise typer.Exit(2)


def failed(message: str) -> NoReturn:
    """End the command with one line on standard error and exit code 1."""
    print_warning(f"cdr: {message}")
    raise typer.Exit(1)


def require_choice(*, filtered: bool, everything: bool) -> None:
    """End the command with a hint when nothing says what to act on; a limit alone does not."""
    if not filtered and not everything:
        wrong_usage("nothing says which ones: give a filter, such as --since, or --all for everything")
