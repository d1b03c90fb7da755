"""The command `cdr clock report`: which CDRs took which rule, what their ids say of it, and what looks wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cdr.clock.counts import FAR_MINUTES, Chosen, ClockCounts, count_clocks, total
from cdr.clock.verdicts import Verdict, verdicts_on
from cdr.database import opened_database
from cdr.known_accounts import require_account
from cdr.printing import print_json, print_line, print_table
from cdr.show_env import naming, use_settings_of
from common.environment import load
from common.postgres import Limits
from common.settings import AccountDefaults
from worker.accounts import Accounts

# All rows of years take minutes, and whoever asks can interrupt.
_PATIENT = Limits(statement_seconds=0, lock_seconds=10)

_COLUMNS = (
    "account",
    "rule",
    "CDRs",
    "id has a date",
    "wall clock",
    "epoch",
    "disagreed",
    "%",
    "id - time, median",
    "outdated",
    "such as",
)


@dataclass(frozen=True)
class RuleReport:
    """One line: the CDRs of an account whose start one rule found.

    Of those with a date in the id and a time `wall_clock` and `epoch` agree with one of the readings (`either` of them with
    both), `disagreed` with none.
    """

    account: str
    time_rule: str
    cdrs: int
    dated: int
    wall_clock: int
    epoch: int
    either: int
    disagreed: int
    disagreed_share: float | None
    median_minutes: int | None
    outdated: int
    example_call_id: str


def run_report(chosen: Chosen, data: Path | None, *, as_json: bool) -> None:
    """Print the report on the chosen CDRs; with `data` by the settings of the `cdr up` that runs on that folder.

    Raises ConfigurationError when none does.
    """
    use_settings_of(data)
    accounts = Accounts(load(AccountDefaults))
    with opened_database("clock report") as database:
        require_account(database, chosen.account)
        accounts.refresh(database)
        with database.transaction(_PATIENT) as cursor:
            counted = count_clocks(cursor, accounts, chosen)
    rules = [_line(account, rule, counts) for account, by_rule in counted.items() for rule, counts in by_rule.items()]
    verdicts = [
        replace(verdict, command=verdict.command and naming(data, verdict.command))
        for verdict in verdicts_of(counted, accounts)
    ]
    if as_json:
        print_json({**_period(chosen), "rules": rules, "verdicts": verdicts})
    else:
        _print(rules, verdicts)


def verdicts_of(counted: dict[str, dict[str, ClockCounts]], accounts: Accounts) -> list[Verdict]:
    """Judge each account by all its CDRs together."""
    return [
        verdict
        for account, by_rule in counted.items()
        for verdict in verdicts_on(account, total(by_rule.values()), accounts.of(account))
    ]


def _line(account: str, rule: str, counts: ClockCounts) -> RuleReport:
    return RuleReport(
        account,
        rule,
        counts.cdrs,
        counts.dated,
        counts.wall_clock + counts.both,
        counts.epoch,
        counts.both,
        counts.disagreed,
        round(counts.disagreed / counts.compared, 4) if counts.compared else None,
        counts.median_minutes,
        counts.outdated,
        _example(rule, counts),
    )


def _example(rule: str, counts: ClockCounts) -> str:
    """Give a call whose id says otherwise than the rule, if there is one."""
    against = {"forced_local": "epoch", "forced_utc": "wall_clock"}.get(rule, "neither")
    for reading in ("neither", against, "wall_clock", "epoch", "both", "no_date", "no_time"):
        if reading in counts.examples:
            return counts.examples[reading]
    raise AssertionError("counts without a CDR")


def _period(chosen: Chosen) -> dict[str, datetime | None]:
    return {"since": chosen.since, "until": chosen.until}


def _print(rules: list[RuleReport], verdicts: list[Verdict]) -> None:
    print_table(_COLUMNS, [_row(rule) for rule in rules])
    print_line()
    for verdict in verdicts:
        print_line(verdict.line)
    if not verdicts:
        print_line("nothing looks wrong" if rules else "no CDRs")


def _row(rule: RuleReport) -> list[object]:
    numbers = (rule.cdrs, rule.dated, rule.wall_clock, rule.epoch, rule.disagreed)
    share = None if rule.disagreed_share is None else f"{rule.disagreed_share:.1%}"
    return [
        rule.account,
        rule.time_rule,
        *(f"{number:,}" for number in numbers),
        share,
        _minutes(rule.median_minutes),
        f"{rule.outdated:,}",
        rule.example_call_id,
    ]


def _minutes(minutes: int | None) -> str | None:
    if minutes is None or abs(minutes) < FAR_MINUTES:
        return None if minutes is None else f"{minutes:+} min"
    return "days ahead" if minutes > 0 else "days behind"
