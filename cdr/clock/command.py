"""The commands `cdr clock`, with their options; cdr/clock/report.py and cdr/clock/recompute.py do the work."""

from __future__ import annotations

from typing import Annotated

import typer

from cdr.options import Data, DryRun, Everything, Json, Since, Until, require_choice

app = typer.Typer(
    no_args_is_help=True, help="Whether `time` is read rightly, and reading it anew after a wrong setting."
)

OneAccount = Annotated[str | None, typer.Option("--account", help="only of this account")]
CallId = Annotated[str | None, typer.Option(help="only the CDRs of this call; quick together with --account")]


@app.command()
def report(
    *,
    account: OneAccount = None,
    since: Since = None,
    until: Until = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Count CDRs by account and rule, beside what the dates in their call ids say, and name the mend of what looks wrong.

    --since and --until go by started_at as it stands; without them all CDRs are read. `disagreed` fit neither reading of
    `time`; `outdated` would be read otherwise by the settings that hold now, those of cdr.accounts and of this environment.
    """
    from cdr.clock.counts import Chosen
    from cdr.clock.report import run_report

    run_report(Chosen(account, since, until), data, as_json=as_json)


@app.command()
def recompute(
    *,
    account: OneAccount = None,
    since: Since = None,
    until: Until = None,
    call_id: CallId = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Read the clock of CDRs anew by the settings that hold now, and have their calls folded anew.

    --since and --until go by started_at as it stands. The settings are those of cdr.accounts and of this environment: run it
    with the environment of the workers. May be interrupted and run again. Names of extensions stay, and hooks hear nothing.
    """
    from cdr.clock.counts import Chosen
    from cdr.clock.recompute import run_recompute

    filtered = not (account is None and since is None and until is None and call_id is None)
    require_choice(filtered=filtered, everything=everything)
    raise typer.Exit(run_recompute(Chosen(account, since, until), call_id, data, dry_run=dry_run, as_json=as_json))
