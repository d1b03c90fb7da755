"""Checks how `time` is read: whether the call ids of the last day say otherwise than the settings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cdr.clock.counts import Chosen, count_clocks
from cdr.clock.report import verdicts_of
from cdr.doctor.finding import Finding, info, ok, settings_of, warning
from cdr.doctor.postgres_checks import Server
from common.settings import AccountDefaults
from worker.accounts import Accounts

PERIOD = timedelta(days=1)
# They are read in well under a second, and more of them would not say more.
CDRS_AT_MOST = 20_000
# What else a report says may be as it must be, or comes from another environment than that of the workers.
WRONG = {"forced_rule", "time_zone", "time_fallback"}


def time_rule_finding(server: Server) -> Finding:
    """Say which account's setting its own call ids contradict."""
    settings = settings_of(AccountDefaults, "settings.accounts")
    if isinstance(settings, Finding):
        return settings
    accounts = Accounts(settings)
    with server.asking() as cursor:
        accounts.refresh(server.database)
        counted = count_clocks(cursor, accounts, Chosen(since=datetime.now(UTC) - PERIOD), CDRS_AT_MOST)
    wrong = [verdict for verdict in verdicts_of(counted, accounts) if verdict.finding in WRONG]
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return warning(f"{wrong[0].account}: {wrong[0].text}{more}", "look: cdr clock report; it names the mend")
    if not counted:
        return info("no CDRs in the last day")
    return ok("no setting is contradicted by the call ids of the last day")
