"""The command `cdr clock recompute`: reads clocks anew, shows how far it is, notes it in `cdr.audit`, and tells the counts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cdr.audit import audited
from cdr.clock.counts import Chosen
from cdr.clock.rereading import Outcome, Rereading
from cdr.database import opened_database
from cdr.known_accounts import require_account
from cdr.printing import counted, print_json, print_line, print_warning
from cdr.show_env import use_settings_of
from common.environment import load
from common.errors import CdrError
from common.settings import AccountDefaults
from worker.accounts import Account, Accounts


def run_recompute(chosen: Chosen, call_id: str | None, data: Path | None, *, dry_run: bool, as_json: bool) -> int:
    """Read the chosen CDRs anew and print how many changed; exit code 1 when it was interrupted.

    With `data` by the settings of the `cdr up` that runs on that folder; raises ConfigurationError when none does.
    """
    use_settings_of(data)
    accounts = Accounts(load(AccountDefaults))
    selection = {**chosen._asdict(), "call_id": call_id}
    with opened_database("clock recompute") as database:
        require_account(database, chosen.account)
        work = Rereading(database, accounts, chosen, call_id)
        try:
            with nullcontext(_ignore) if dry_run else audited("clock recompute", selection) as tell:
                _run(work, tell, change=not dry_run)
        except KeyboardInterrupt:
            _say_how_far(work.outcome, "interrupted")
            return 1
        except CdrError:
            _say_how_far(work.outcome, "stopped")
            raise
    _print(work.outcome, accounts.default, dry_run=dry_run, as_json=as_json)
    return 0


def _run(work: Rereading, tell: Callable[[int], None], *, change: bool) -> None:
    ranges = work.ranges()
    with _bar() as bar:
        task = bar.add_task("", total=len(ranges))

        def show() -> None:
            changed = work.outcome.changed.total()
            tell(changed)
            bar.update(task, description=f"{work.outcome.read:,} CDRs read, {changed:,} changed, months")

        for part in ranges:
            work.run(part, change=change, progress=show)
            bar.advance(task)


def _ignore(_changed: int) -> None:
    """Nobody is told of what is only counted."""


def _say_how_far(outcome: Outcome, how: str) -> None:
    print_warning(f"cdr: {how}: {outcome.read:,} CDRs read, {outcome.changed.total():,} of them changed; run it again")


def _print(outcome: Outcome, default: Account, *, dry_run: bool, as_json: bool) -> None:
    changed = outcome.changed.total()
    by_rule = [{"from": old, "to": new, "cdrs": count} for (old, new), count in sorted(outcome.changed.items())]
    if as_json:
        print_json({"read": outcome.read, "changed": changed, "by_rule": by_rule, "dry_run": dry_run})
        return
    steps = ", ".join(_step(old, new, count) for (old, new), count in sorted(outcome.changed.items()))
    by_what = f"defaults here: {default.time_zone}, {default.time_rule}, {default.time_fallback}"
    verb = "to be changed" if dry_run else "changed"
    print_line(f"{counted(outcome.read, 'CDR')} read, {changed:,} {verb}{': ' if steps else ''}{steps} ({by_what})")


def _step(old: str, new: str, count: int) -> str:
    """Say what changes: the rule with the start that it finds, or where the rule stays the start alone."""
    return f"{count:,} another start by {old} as before" if old == new else f"{count:,} from {old} to {new}"


def _bar() -> Progress:
    """Make a progress bar on standard error, which shows itself to people only."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
