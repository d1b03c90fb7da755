"""How much of the table a load and a fold read while PostgreSQL has no statistics of it, as of a month that has just begun."""

from __future__ import annotations

import pytest
from loading import Loader, delivery, execute, leg, select

STANDING = 4000
ARRIVING = 300


@pytest.fixture(params=["never vacuumed", "vacuumed while it was empty"])
def full(loader: Loader, database_url: str, request: pytest.FixtureRequest) -> Loader:
    # What PostgreSQL finds out by itself would have it make its plans anew.
    for table in ("cdrs_default", "calls", "call_links", "deliveries", "outbox"):
        execute(database_url, f"ALTER TABLE cdr.{table} SET (autovacuum_enabled = false)")
    if request.param != "never vacuumed":
        # Then PostgreSQL knows that it is empty: to read all of it is the cheapest plan.
        execute(database_url, "VACUUM cdr.cdrs_default")
    # Plans are kept by a connection once it has run a statement several times.
    for number in range(10):
        loader.load_fields(leg(f"first-{number}", time=1), leg(f"first-{number}", time=1, duration=11))
        loader.fold()
    for start in range(0, STANDING, 1000):
        loader.load([delivery(leg(f"standing-{number}", time=1)) for number in range(start, start + 1000)])
    assert loader.fold() == STANDING
    return loader


def rows_read(loader: Loader, url: str) -> int:
    """Count the rows of CDRs that were read so far, in whatever way."""
    # A session tells now and then what it read; another one would make its plans anew.
    with loader.database.transaction() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
    query = "SELECT sum(seq_tup_read + idx_tup_fetch) AS read FROM pg_stat_user_tables WHERE relname ~ '^cdrs_'"
    return int(select(url, query)[0]["read"])


def searches(loader: Loader, url: str) -> dict[str, int]:
    """Count how often each partition was searched by the key of a call."""
    with loader.database.transaction() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
    query = """
        SELECT relname, sum(idx_scan)::int AS searches FROM pg_stat_user_indexes
        WHERE relname ~ '^cdrs_' AND indexrelname ~ 'call_key' GROUP BY relname"""
    return {row["relname"]: row["searches"] for row in select(url, query)}


def arriving() -> list[dict[str, object]]:
    return [leg(f"arriving-{number}", time=1) for number in range(ARRIVING)]


def test_a_second_delivery_is_merged_without_reading_the_table(full: Loader, database_url: str) -> None:
    before = rows_read(full, database_url)

    full.load_fields(*arriving(), leg("standing-7", time=1, duration=11))

    assert 0 < rows_read(full, database_url) - before < 2 * ARRIVING


def test_calls_are_folded_without_reading_the_others_of_their_time(full: Loader, database_url: str) -> None:
    full.load_fields(*arriving())
    before = rows_read(full, database_url)

    assert full.fold() == ARRIVING

    assert ARRIVING <= rows_read(full, database_url) - before < 4 * ARRIVING


def test_a_call_of_another_month_does_not_have_its_months_searched_for_the_others(
    loader: Loader, database_url: str
) -> None:
    old, new = 1_700_000_000, 1_760_000_000
    for month in ("2023-11-01", "2024-06-01", "2025-10-01"):
        execute(database_url, "SELECT cdr.make_partition(%s)", [month])
    loader.load_fields(leg("old", time=old), *(leg(f"new-{number}", time=new) for number in range(100)))
    assert loader.fold() == 101
    before = searches(loader, database_url)

    loader.load_fields(leg("old", time=old, price=9), *(leg(f"newer-{number}", time=new) for number in range(100)))
    assert loader.fold() == 101

    after = searches(loader, database_url)
    # Once for what it names and once for its legs, each call in its own month.
    done = {month: number - before[month] for month, number in after.items() if number > before[month]}
    assert done == {"cdrs_2023_11": 2, "cdrs_2025_10": 200}
