"""`cdr doctor` warns of a clock that the call ids of the last day contradict, and of no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
from clock_changes import seconds
from clock_rows import Sent, insert
from doctoring import Here, here, product

from worker.accounts import Account

__all__ = ["here", "product"]

AS_LOADED = Account("Asia/Jerusalem", "utc", "local", "IL", duration_includes_wait=False)


def load_epochs(here: Here, age: timedelta) -> None:
    """Load a dozen CDRs of an account that sends true epochs."""
    instants = [datetime.now(UTC) - age + timedelta(seconds=number) for number in range(12)]
    sent = [
        Sent("acme", f"{each.astimezone(ZoneInfo('Asia/Jerusalem')):%Y%m%d%H%M%S}x", seconds(each)) for each in instants
    ]
    with psycopg.connect(here.product.database_url) as connection:
        insert(connection, sent, AS_LOADED)


def found(here: Here) -> tuple[str, str]:
    finding = here.findings()["schema.time_rule"]
    return finding["status"], finding["detail"]


def test_what_the_ids_contradict_is_a_warning_that_names_the_report(here: Here) -> None:
    assert found(here) == ("info", "no CDRs in the last day")
    load_epochs(here, timedelta(hours=6))
    assert found(here)[0] == "ok"
    here.set(CDR_TIME_RULE="local")
    status, detail = found(here)
    assert status == "warning"
    assert detail.startswith(
        "acme: 12 of 12 CDRs whose id has a date are a true epoch, but time_rule is forced to local"
    )
    assert "cdr clock report" in here.findings()["schema.time_rule"]["advice"]
    here.product.cdr("accounts", "set", "acme", "--time-rule", "auto")
    assert found(here)[0] == "ok"


def test_older_calls_are_not_asked(here: Here) -> None:
    load_epochs(here, timedelta(hours=60))
    here.set(CDR_TIME_RULE="local")
    assert found(here) == ("info", "no CDRs in the last day")


def test_defaults_that_cannot_be_read_are_the_finding_of_their_own_check(here: Here) -> None:
    here.set(CDR_TIME_RULE="never")
    assert found(here) == ("info", "not checked: see settings.accounts")
