"""The commands `cdr recordings`, with their options; cdr/recordings/lists.py and cdr/recordings/verify.py do the work."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cdr.options import Data, DryRun, Everything, Json, Limit, Rate, Since, Until, require_choice, wrong_usage
from cdr.show_env import use_settings_of

if TYPE_CHECKING:
    from cdr.recordings.rows import RecordingFilter

app = typer.Typer(no_args_is_help=True, help="Recordings: what became of each, where it is, and whether all are there.")

_STATUSES = ("pending", "stored", "gone", "refused", "failed")
_MAX_ID = 2**63 - 1
Ids = Annotated[list[int] | None, typer.Argument(help="only these", min=1, max=_MAX_ID, metavar="[ID]...")]
Status = Annotated[str | None, typer.Option(help=f"only with this status: {', '.join(_STATUSES)}")]
Account = Annotated[str | None, typer.Option(help="only of this account")]
CallId = Annotated[str | None, typer.Option(help="only of this call")]


@app.command("list")
def list_recordings(
    ids: Ids = None,
    *,
    status: Status = None,
    account: Account = None,
    call_id: CallId = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """List recordings of calls that were made in a time: their status, what was tried, where they are.

    The oldest come first; --since 1d shows the newest.
    """
    from cdr.recordings.lists import run_list

    run_list(_filter(ids, status, account, call_id, since, until), limit, as_json=as_json)


@app.command()
def retry(
    ids: Ids = None,
    *,
    status: Status = None,
    account: Account = None,
    call_id: CallId = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    rate: Rate = None,
    as_json: Json = False,
) -> None:
    """Have recordings that are not stored fetched again, as if they had never been tried, and print how many."""
    from cdr.recordings.lists import run_retry

    if status == "stored":
        wrong_usage("what is stored is not fetched again: cdr recordings verify tells whether it is there")
    wanted = _filter(ids, status, account, call_id, since, until)
    require_choice(filtered=not wanted.is_empty, everything=everything)
    run_retry(wanted, limit, rate, dry_run=dry_run, as_json=as_json)


@app.command()
def path(
    ids: Ids = None, *, account: Account = None, call_id: CallId = None, data: Data = None, as_json: Json = False
) -> None:
    """Print where recordings are, as a path or a URL, one a line; exit 1 when one of them is not stored.

    It does not look whether the object is there: that is what verify does.
    """
    from cdr.recordings.lists import run_path

    use_settings_of(data)
    if ids is None and call_id is None:
        wrong_usage("give the ids of recordings, or --call-id")
    raise typer.Exit(run_path(_filter(ids, None, account, call_id, None, None), as_json=as_json))


@app.command()
def verify(
    *,
    account: Account = None,
    since: Since = None,
    until: Until = None,
    deep: Annotated[bool, typer.Option("--deep", help="read every object and compare its hash")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="mend what is found; deletes nothing")] = False,
    everything_is_lost: Annotated[
        bool, typer.Option("--everything-is-lost", help="repair even where no object of a sample is in the store")
    ] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Compare the rows with the store and the store with the rows, day by day; exit 1 when what is found is not mended."""
    from cdr.recordings.verify import VerifyOptions, run_verify

    use_settings_of(data)
    if everything_is_lost and not repair:
        wrong_usage("--everything-is-lost says what to repair: it needs --repair")
    options = VerifyOptions(account, since, until, deep, repair, everything_is_lost)
    raise typer.Exit(run_verify(options, as_json=as_json))


def _filter(
    ids: list[int] | None,
    status: str | None,
    account: str | None,
    call_id: str | None,
    since: datetime | None,
    until: datetime | None,
) -> RecordingFilter:
    from cdr.recordings.rows import RecordingFilter

    if status is not None and status not in _STATUSES:
        wrong_usage(f"there is no status {status!r}: it is one of {', '.join(_STATUSES)}")
    return RecordingFilter(ids or None, status, account, call_id, since, until)
