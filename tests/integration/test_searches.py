"""What users look for, as docs/tables.md writes it, and what the commands look for, is found without reading all rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from loading import connect, execute

from cdr.recordings import rows as recording_rows
from cdr.recordings.rows import RecordingFilter, find_recordings
from common.postgres import Database, statement

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(
    r"[^;]+", (ROOT / "docs/tables.md").read_text(encoding="utf-8").partition("```sql\n")[2].partition("```")[0].strip()
)
CALLS = 20_000
BEGIN = datetime(2018, 9, 1, tzinfo=UTC)
# A call every two minutes, as wide as one is; the id of the example is among them, and its number.
FILL = """
    INSERT INTO cdr.cdrs (
        identity, provider_time, account, call_id, call_key, outcome, started_at, time_raw, time_rule, caller_number, caller_e164,
        payload, format, delivery_id, delivery_place, first_received_at, last_received_at
    )
    SELECT
        sha256(call_id::bytea), at, 'default', call_id, cdr.call_key('default', call_id), 'other',
        at AT TIME ZONE 'UTC', extract(epoch FROM at)::bigint, 'utc', number, number,
        jsonb_build_object('filler', (SELECT string_agg(md5(n::text || i::text), '') FROM generate_series(1, 20) AS i)),
        'json', gen_random_uuid(), 0, now(), now()
    FROM (
        SELECT
            n, timestamp '2018-09-01' + n * interval '2 min' AS at,
            CASE n WHEN 9000 THEN '20180913161553ac40' ELSE 'call ' || n END AS call_id,
            CASE n WHEN 9000 THEN '+972722776772' ELSE '+9727' || n END AS number
        FROM generate_series(1, 20000) AS n
    ) AS made
"""
FOLD = """
    INSERT INTO cdr.calls (
        call_key, account, call_id, call_ids, started_at, ended_at, outcome, caller_e164, leg_count, recording_count,
        last_received_at, first_provider_time, last_provider_time
    )
    SELECT call_key, account, call_id, ARRAY[call_id], started_at, started_at, outcome, caller_e164, 1, 0, now(), provider_time,
        provider_time
    FROM cdr.cdrs
"""
RECORD = """
    INSERT INTO cdr.recordings (identity, provider_time, account, call_id, started_at, source_url, source_key, status)
    SELECT identity, provider_time, account, call_id, started_at, repeat('x', 100), sha256(call_id::bytea), 'gone'
    FROM cdr.cdrs ORDER BY provider_time
"""


@pytest.fixture
def filled(database_url: str) -> str:
    execute(database_url, "SELECT cdr.make_partition('2018-09-01')")
    for fill in (FILL, FOLD, RECORD):
        execute(database_url, fill)
    # As autovacuum does, of which nobody knows when it comes by.
    for table in ("cdr.cdrs_2018_09", "cdr.calls", "cdr.recordings"):
        execute(database_url, f"VACUUM ANALYZE {table}")
    return database_url


@pytest.fixture
def database(filled: str) -> Iterator[Database]:
    with closing(Database(filled, "test")) as opened:
        yield opened


def rows_read(plan: dict[str, Any]) -> int:
    read = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    return int(read * plan["Actual Loops"]) + sum(map(rows_read, plan.get("Plans", [])))


def explained(url: str, query: str, values: dict[str, Any] | None = None) -> tuple[int, int]:
    """Return how many rows a query gives, and how many PostgreSQL read for that, in all steps."""
    with connect(url, "test") as connection, psycopg.ClientCursor(connection) as cursor:
        ((plan,),) = cursor.execute(f"EXPLAIN (ANALYZE, FORMAT json) {query}".encode(), values).fetchall()
    return int(plan[0]["Plan"]["Actual Rows"]), rows_read(plan[0]["Plan"])


@pytest.mark.parametrize("example", EXAMPLES)
def test_what_the_document_looks_for_is_found_by_index(filled: str, example: str) -> None:
    found, read = explained(filled, example)

    assert found >= 1
    assert read < CALLS / 2


def test_the_recordings_of_a_call_are_found_by_index(filled: str) -> None:
    wanted = {"ids": None, "status": None, "account": None, "call_id": "call 17", "since": None, "until": None}
    page = {"after": 0, "last": CALLS, "page_size": 200}

    found, read = explained(filled, statement("cdr", "find_recordings").decode(), {**wanted, **page})

    assert (found, read < 20) == (1, True)


def test_bodies_that_are_done_with_are_not_counted_one_by_one(filled: str) -> None:
    execute(
        filled,
        "INSERT INTO cdr.quarantine (received_at, last_received_at, account, format, reason, error, body, sha256, status)"
        " SELECT now(), now(), 'a', 'json', 'unreadable', '', repeat('x', 500)::bytea, sha256(n::text::bytea),"
        " CASE WHEN n < 20000 THEN 'replayed' ELSE 'kept' END FROM generate_series(1, 20000) AS n",
    )
    execute(filled, "VACUUM ANALYZE cdr.quarantine")

    found, read = explained(filled, statement("cdr", "read_load_state").decode())

    assert (found, read < 20) == (1, True)


def test_of_the_recordings_of_a_day_those_before_it_are_not_read(filled: str, database: Database) -> None:
    day = {"since": BEGIN + timedelta(days=20), "until": BEGIN + timedelta(days=21)}

    _, read = explained(filled, statement("cdr", "recording_span").decode(), day)

    assert read < CALLS / 2
    assert recording_rows._span(database, RecordingFilter(**day)) == (14_399, 15_120)


def test_recordings_of_another_time_between_them_are_not_read(filled: str) -> None:
    # A row goes wherever there is room for it, so that every page may hold one of now.
    execute(filled, "UPDATE cdr.recordings SET started_at = now() WHERE recording_id % 50 = 0")
    day = {"since": BEGIN + timedelta(days=20), "until": BEGIN + timedelta(days=21)}

    _, read = explained(filled, statement("cdr", "recording_span").decode(), day)

    assert read < CALLS / 10


def test_all_recordings_of_a_time_are_listed_whatever_their_order(filled: str, database: Database) -> None:
    # One of that day that was loaded last, as after a replay.
    execute(filled, "DELETE FROM cdr.recordings WHERE call_id = 'call 14500'")
    execute(filled, RECORD.replace("FROM cdr.cdrs", "FROM cdr.cdrs WHERE call_id = 'call 14500'"))
    day = RecordingFilter(since=BEGIN + timedelta(days=20), until=BEGIN + timedelta(days=21))

    found = [row.call_id for row in find_recordings(database, day)]

    assert sorted(found) == sorted(f"call {number}" for number in range(14_400, 15_121))


def test_a_time_without_recordings_has_none(database: Database) -> None:
    later = RecordingFilter(since=datetime(2019, 1, 1, tzinfo=UTC))

    assert list(find_recordings(database, later)) == []


@pytest.mark.parametrize("index", ["cdrs_call_id", "cdrs_time_raw"])
def test_a_month_that_is_made_later_has_the_index_too(database_url: str, index: str) -> None:
    execute(database_url, "SELECT cdr.make_partition('2018-09-01')")

    with connect(database_url, "test") as connection:
        parts = connection.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = ('cdr.' || %s)::regclass", [index]
        ).fetchone()
        months = connection.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'cdr.cdrs'::regclass"
        ).fetchone()

    assert parts == months
