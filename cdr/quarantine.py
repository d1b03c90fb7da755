"""The commands `cdr quarantine`, with their options; cdr/kept_bodies.py does the work."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cdr.options import DryRun, Everything, Json, Limit, Rate, Reason, Since, Until, require_choice

if TYPE_CHECKING:
    from worker.kept_bodies import BodyFilter

app = typer.Typer(no_args_is_help=True, help="Bodies that were no CDR, kept as received.")

Account = Annotated[str | None, typer.Option(help="only of this account")]
_MAX_ID = 2**63 - 1
Id = Annotated[int, typer.Argument(min=1, max=_MAX_ID, metavar="ID")]
Ids = Annotated[list[int] | None, typer.Argument(help="only these", min=1, max=_MAX_ID, metavar="[ID]...")]


@app.command("list")
def list_bodies(
    ids: Ids = None,
    *,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    account: Account = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """List the bodies that are kept, with what was wrong with them."""
    from cdr.kept_bodies import run_list

    run_list(_filter(ids, reason, since, until, account), limit, as_json=as_json)


@app.command()
def show(
    quarantine_id: Id,
    *,
    as_json: Json = False,
    raw: Annotated[bool, typer.Option("--raw", help="write the bytes of the body and nothing else")] = False,
) -> None:
    """Show one body with the headers that it came with."""
    from cdr.kept_bodies import run_show

    run_show(quarantine_id, as_json=as_json, raw=raw)


@app.command()
def replay(
    ids: Ids = None,
    *,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    account: Account = None,
    limit: Limit = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    rate: Rate = None,
    as_json: Json = False,
) -> None:
    """Read bodies anew, queue those that are CDRs now, and print how many; the others stay."""
    from cdr.kept_bodies import count_readable, run_replay

    wanted = _filter(ids, reason, since, until, account)
    require_choice(filtered=not wanted.is_empty, everything=everything)
    tally = count_readable(wanted, limit) if dry_run else run_replay(wanted, limit, rate)
    tally.print(as_json=as_json)


@app.command()
def discard(
    ids: Ids = None,
    *,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    account: Account = None,
    limit: Limit = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    rate: Rate = None,
    as_json: Json = False,
) -> None:
    """Mark bodies as discarded, so that they are listed no more, and print how many."""
    from cdr.kept_bodies import run_discard

    wanted = _filter(ids, reason, since, until, account)
    require_choice(filtered=not wanted.is_empty, everything=everything)
    run_discard(wanted, limit, rate, dry_run=dry_run, as_json=as_json)


def _filter(
    ids: list[int] | None, reason: str | None, since: datetime | None, until: datetime | None, account: str | None
) -> BodyFilter:
    from worker.kept_bodies import BodyFilter

    return BodyFilter(ids or None, reason, since, until, account)
