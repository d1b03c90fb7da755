"""The SQL of `cdr clock report` reads ids and clocks exactly as the worker does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

import psycopg
import pytest
from clock_changes import CHANGES, named, seconds
from clock_rows import RECEIVED, Sent, insert
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loading import execute

from cdr.clock.counts import Chosen, ClockCounts, count_clocks, total
from common.postgres import Database
from common.settings import AccountDefaults
from worker.accounts import Account, Accounts
from worker.clock import _agreed_reading, _date_in_id, read_clock

ZONES = ["Asia/Jerusalem", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu", "CET", "UTC"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

zones = st.sampled_from(ZONES)
rules = st.sampled_from(["auto", "local", "utc"])
readings = st.sampled_from(["local", "utc"])
accounts = st.builds(Account, zones, rules, readings, st.just("IL"), st.just(False))
times = st.integers(1, 4_102_444_800)
digits = st.from_regex(r"20[0-9]{2}(0[1-9]|1[0-9])[0-3][0-9][0-2][0-9][0-6][0-9][0-6][0-9][a-f]{0,3}", fullmatch=True)


@st.composite
def cdrs(draw: st.DrawFn) -> tuple[str, int | None]:
    """Make a call id and a time: most of them near to each other, and near to where a zone agrees or no longer does."""
    kind = draw(st.sampled_from(["any", "digits", "text", "near", "near", "near", "near"]))
    time_raw = (
        draw(st.none() | times) if kind != "near" else draw(st.integers(946_684_800 + 90_000, 4_102_444_800 - 90_000))
    )
    if kind != "near":
        other = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
        return draw(digits if kind == "digits" else other), time_raw
    offset = EPOCH + timedelta(seconds=time_raw)
    ahead = draw(st.just(timedelta()) | zones.map(lambda zone: offset.astimezone(ZoneInfo(zone)).utcoffset()))
    off = draw(st.sampled_from([0, 1, -1, 599, -599, 600, -600, 601, -601, 3600, -3600]) | st.integers(-9000, 9000))
    return f"{offset + ahead + timedelta(seconds=off):%Y%m%d%H%M%S}abc", time_raw


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url, "test")
    yield made
    made.close()


def knowing(default: Account, own: dict[str, Account]) -> Accounts:
    made = Accounts(
        AccountDefaults(
            time_zone=default.time_zone,
            time_rule=default.time_rule,
            time_fallback=default.time_fallback,  # type: ignore[arg-type]
        )
    )
    made._accounts = own
    return made


def expected(sent: Sent, loaded_by: Account, now: Account) -> tuple[str, ClockCounts]:
    """Count one CDR as worker/clock.py reads it."""
    before = read_clock(sent.time_raw, sent.call_id, RECEIVED, *_clock_settings(loaded_by))
    after = read_clock(sent.time_raw, sent.call_id, RECEIVED, *_clock_settings(now))
    id_time = _date_in_id(sent.call_id)
    counts = ClockCounts(1, int(id_time is not None), int(sent.time_raw is not None), outdated=int(before != after))
    if sent.time_raw is not None and id_time is not None:
        instant = EPOCH + timedelta(seconds=sent.time_raw)
        agreed = _agreed_reading(instant, sent.call_id, now.time_zone)
        # The worker stops at the first reading that fits; here it is asked for the second as well.
        offset = instant.astimezone(ZoneInfo(now.time_zone)).utcoffset()
        is_epoch = abs(id_time - instant - offset) <= timedelta(minutes=10)
        reading = {"local": "both" if is_epoch else "wall_clock", "utc": "epoch", None: "neither"}[agreed]
        if reading == "neither":
            minutes = Decimal((id_time - instant) // timedelta(seconds=1)) / 60
            counts.neither = Counter([max(-2881, min(2881, int(minutes.to_integral_value(ROUND_HALF_UP))))])
        else:
            setattr(counts, reading, 1)
    return before.rule, counts


def _clock_settings(account: Account) -> tuple[str, str, str]:
    return account.time_zone, account.time_rule, account.time_fallback


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sent=st.lists(st.tuples(st.sampled_from("abc"), cdrs()), min_size=1, max_size=60),
    loaded_by=accounts,
    default=accounts,
    of_a=accounts,
)
def test_the_sql_counts_what_the_worker_would_read(
    database: Database,
    database_url: str,
    sent: list[tuple[str, tuple[str, int | None]]],
    loaded_by: Account,
    default: Account,
    of_a: Account,
) -> None:
    all_sent = [Sent(account, *cdr) for account, cdr in sent]
    execute(database_url, "TRUNCATE cdr.cdrs")
    with psycopg.connect(database_url) as connection:
        insert(connection, all_sent, loaded_by)
    wanted: dict[str, dict[str, ClockCounts]] = {}
    for each in all_sent:
        rule, counts = expected(each, loaded_by, of_a if each.account == "a" else default)
        wanted.setdefault(each.account, {}).setdefault(rule, ClockCounts()).add(counts)
    with database.transaction() as cursor:
        counted = count_clocks(cursor, knowing(default, {"a": of_a}), Chosen())
    for by_rule in counted.values():
        for counts in by_rule.values():
            counts.examples.clear()
    assert counted == wanted


def test_the_sql_counts_so_at_every_limit_about_a_change_of_the_clocks(database: Database, database_url: str) -> None:
    settings_of = {
        named(change): Account(change.zone, "auto", "utc", "IL", duration_includes_wait=False) for change in CHANGES
    }
    all_sent = [
        Sent(named(change), f"{instant + timedelta(minutes=minutes, seconds=off):%Y%m%d%H%M%S}abc", seconds(instant))
        for change in CHANGES
        for instant in change.minutes_around()[::4]
        for minutes in {0, change.before, change.after}
        for off in (0, 599, -599, 600, -600, 601, -601)
    ]
    loaded_by = Account("UTC", "auto", "utc", "IL", duration_includes_wait=False)
    with psycopg.connect(database_url) as connection:
        insert(connection, all_sent, loaded_by)
    wanted: dict[str, ClockCounts] = {}
    for each in all_sent:
        _, counts = expected(each, loaded_by, settings_of[each.account])
        wanted.setdefault(each.account, ClockCounts()).add(counts)
    with database.transaction() as cursor:
        counted = count_clocks(cursor, knowing(loaded_by, settings_of), Chosen())
    together = {account: total(by_rule.values()) for account, by_rule in counted.items()}
    for counts in together.values():
        counts.examples.clear()
    assert together == wanted


def test_every_day_that_there_is_and_none_other_is_a_date_in_an_id(database: Database, database_url: str) -> None:
    days = [f"{year:04}{month:02}{day:02}" for year in range(1999, 2101) for month in range(14) for day in range(33)]
    with psycopg.connect(database_url) as connection:
        local = Account("UTC", "auto", "local", "IL", duration_includes_wait=False)
        insert(connection, (Sent(day, f"{day}235959", None) for day in days), local)
    with database.transaction() as cursor:
        counted = count_clocks(cursor, knowing(local, {}), Chosen())
    dated = {day for day, by_rule in counted.items() if total(by_rule.values()).dated}
    first, last = date(2000, 1, 1), date(2099, 12, 31)
    assert dated == {f"{first + timedelta(days=days):%Y%m%d}" for days in range((last - first).days + 1)}


@pytest.mark.parametrize(
    "call_id",
    ["", "2024061012045", "x20240610120455", "20240610-120455", "20240610240000", "20240610126000", "20240610120060",
     "٢٠٢٤٠٦١٠١٢٠٤٥٥", "２０２４０６１０１２０４５５", "20260230120000", "20250229120000", "\n20240610120455"],
)  # fmt: skip
def test_what_is_no_date_is_none_in_sql_too(database: Database, database_url: str, call_id: str) -> None:
    local = Account("UTC", "auto", "local", "IL", duration_includes_wait=False)
    with psycopg.connect(database_url) as connection:
        insert(connection, [Sent("a", call_id, None)], local)
    with database.transaction() as cursor:
        [(_, by_rule)] = count_clocks(cursor, knowing(local, {}), Chosen()).items()
    assert total(by_rule.values()).dated == 0
