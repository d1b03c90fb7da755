"""How much of the table a load and a fold read while PostgreSQL has no statistics of it, as of a month that has just begun."""

from __future__ import annotations

import pytest
from loading import Loader, delivery, execute, leg, select

STANDING = 4000
ARRIVING = 300


@pytest.fixture
def full(loader: Loader, database_url: str) -> Loader:
    execute(database_url, "ALTER TABLE cdr.cdrs_default SET (autovacuum_enabled = false)")
    for start in range(0, STANDING, 1000):
        loader.load([delivery(leg(f"standing-{number}", time=1)) for number in range(start, start + 1000)])
    loader.fold()
    return loader


def rows_read(loader: Loader, url: str) -> int:
    """Count the rows of CDRs that were read so far, in whatever way."""
    # PostgreSQL counts for certain what a session did that has ended.
    loader.database.close()
    query = "SELECT sum(seq_tup_read + idx_tup_fetch) AS read FROM pg_stat_user_tables WHERE relname ~ '^cdrs_'"
    return int(select(url, query)[0]["read"])


def arriving() -> list[dict[str, object]]:
    return [leg(f"arriving-{number}", time=1) for number in range(ARRIVING)]


def test_a_second_delivery_is_merged_without_reading_the_table(full: Loader, database_url: str) -> None:
    before = rows_read(full, database_url)

    full.load_fields(*arriving(), leg("standing-7", time=1, duration=11))

    assert rows_read(full, database_url) - before < 2 * ARRIVING


def test_calls_are_folded_without_reading_the_others_of_their_time(full: Loader, database_url: str) -> None:
    full.load_fields(*arriving())
    before = rows_read(full, database_url)

    assert full.fold() == ARRIVING

    assert rows_read(full, database_url) - before < 4 * ARRIVING
