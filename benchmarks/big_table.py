"""Makes the tables of two years, 10 million CDRs, and checks that they are what the product would have loaded itself.

Some 50,000 simulated CDRs are loaded by our worker; benchmarks/copies.py multiplies them to 183 windows of four days. The
table is made once for all parts of a run.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from benchmarks.backlog import groups, jobs_of, put
from benchmarks.bench import Bench, Server
from benchmarks.copies import TABLES, WINDOW_DAYS, add_copy, columns_of, keep_seed, without_indexes
from benchmarks.loaded import check_rows, connected, keys_of, one, wait_until_loaded
from benchmarks.processes import Failed
from benchmarks.traffic import ACCOUNT, simulated_deliveries
from common.delivery import Delivery, QuarantinedBody
from common.errors import Unreadable
from common.job_queue import JobSerializer
from common.postgres import Database
from common.redis_client import connect
from common.settings import AccountDefaults
from worker.accounts import Accounts
from worker.extension_directory import ExtensionDirectory
from worker.fold_calls import fold_waiting_calls
from worker.pipeline import Knowledge, enrich
from worker.quarantine import keep
from worker.recordings.recording_key import recording_key
from worker.rows import as_text, identify, make_row

CDRS = 10_000_000
COPIES = 183
BODIES = 10_000
_FOLDER = "big-table"
# Only while the table is made: nobody waits for the disk, and indexes are built as in one go.
_MAKING = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "16GB",
    "autovacuum": "off",
}
_SAMPLE = 500
# A fold has seconds, and nothing of the tables is in memory yet.
_FOLDED_SAMPLE = 100
# What the order of loading decides, or is not of this CDR alone.
_NOT_COMPARED = {"loaded_at", "caller_extension_name", "answering_extension_name"}


class BigTable(NamedTuple):
    """The server that holds the tables, with the settings of `cdr up`, and how many CDRs they held when they were made."""

    server: Server
    cdrs: int


@contextlib.contextmanager
def big_table(bench: Bench) -> Iterator[BigTable]:
    """Run the PostgreSQL that holds the big tables; make them when this is the first part that wants them."""
    if not (bench.folder / _FOLDER).exists():
        with bench.postgres(_FOLDER, **_MAKING) as server:
            _make(bench, server)
        # What was written without waiting for the disk must not be written beside what is measured.
        os.sync()
    with bench.postgres(_FOLDER) as server, connected(server) as connection:
        (count,) = connection.execute("SELECT cdrs FROM seed.made").fetchone() or (0,)
        yield BigTable(server, count)


def newest() -> datetime:
    """Return when the newest window begins: it ends now."""
    return datetime.now(UTC) - timedelta(days=WINDOW_DAYS)


def _make(bench: Bench, server: Server) -> None:
    count = max(200, round(CDRS * bench.scale / COPIES))
    bench.tell(f"loading {count:,} CDRs, to be multiplied by {COPIES}")
    with connected(server) as connection:
        _load_seed(bench, server, connection, count)
        odd = one(
            connection.cursor(), "SELECT count(*) FROM cdr.cdrs WHERE time_rule NOT IN ('local', 'assumed_local')"
        )
        if odd:
            raise Failed(f"{odd} CDRs of the seed are read by a rule that copies.py knows nothing of")
        keep_seed(connection)
        indexes = without_indexes(connection)
        _make_partitions(connection)
        _add_copies(bench, server)
        _keep_bodies(server, max(20, round(BODIES * bench.scale)))
        bench.tell("building the indexes")
        connection.execute("SET maintenance_work_mem = '1GB'")
        for statement in indexes:
            connection.execute(statement.encode())
        _vacuum(connection)
        connection.execute("CREATE TABLE seed.made AS SELECT count(*) AS cdrs FROM cdr.cdrs")
        _check(server, connection, count)
        bench.tell(_size(connection))


def _load_seed(bench: Bench, server: Server, connection: psycopg.Connection[Any], count: int) -> None:
    deliveries = list(simulated_deliveries(count, seed=1, first=newest(), seconds=WINDOW_DAYS * 86400.0))
    with (
        bench.valkey() as valkey,
        connect(valkey.url) as redis,
        bench.worker(valkey, server),
        bench.scheduler(valkey, server),
    ):
        put(redis, jobs_of(deliveries))
        wait_until_loaded(redis, connection.cursor())
    check_rows(connection.cursor(), keys_of(deliveries))


def _make_partitions(connection: psycopg.Connection[Any]) -> None:
    for months in range(25):
        connection.execute(
            "SELECT cdr.make_partition((date_trunc('month', now()) - make_interval(months => %s))::date)", [months]
        )


def _add_copies(bench: Bench, server: Server) -> None:
    """Add all copies, the oldest first, as rows come in: two at a time, and none of the next before both are done."""
    with connected(server) as one_half, connected(server) as other_half, ThreadPoolExecutor(2) as threads:
        for copy in range(COPIES - 1, -1, -2):
            list(threads.map(add_copy, (one_half, other_half), range(copy, max(copy - 2, -1), -1)))
            if copy % 20 == 0:
                bench.tell(f"{copy} copies to make")


def _keep_bodies(server: Server, count: int) -> None:
    """Have the product keep bodies that are no CDR: JSON that was cut off."""
    bodies = [
        QuarantinedBody(
            each.received_at_us,
            ACCOUNT,
            "json",
            Unreadable.reason,
            "it ends early",
            {},
            JobSerializer.dumps(each.fields)[:-1],
        )
        for each in simulated_deliveries(count, 4, newest(), WINDOW_DAYS * 86400.0)
    ]
    database = Database(server.url, "benchmark")
    for group in groups(bodies, 1000):
        if any(keep(database, group)):
            raise Failed("bodies were not kept")
    database.close()


def _vacuum(connection: psycopg.Connection[Any]) -> None:
    """Do what autovacuum does; it never looks at the partitioned table itself, so neither is this."""
    tables = connection.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'cdr'::regnamespace"
    )
    for (table,) in tables.fetchall():
        connection.execute(f"VACUUM ANALYZE {table}".encode())


def _check(server: Server, connection: psycopg.Connection[Any], count: int) -> None:
    """Raise Failed unless the copies are what the product itself makes of their payload."""
    cursor = connection.cursor()
    made, loaded = one(cursor, "SELECT cdrs FROM seed.made"), one(cursor, "SELECT count(*) FROM seed.cdrs")
    if not loaded == count or made != loaded * COPIES:
        raise Failed(f"{made} rows from {loaded}, of {count} CDRs")
    for table in TABLES[:4]:
        columns = ", ".join(column for column in columns_of(connection, table) if column != "loaded_at")
        if differing := one(
            cursor,
            f"SELECT count(*) FROM (SELECT {columns} FROM seed.{table} EXCEPT SELECT {columns} FROM cdr.{table}) AS d",
        ):
            raise Failed(f"{differing} rows of cdr.{table} differ from what was loaded")
    _check_rows(connection)
    _check_calls(server, connection)
    _check_keys(connection)


def _check_rows(connection: psycopg.Connection[Any]) -> None:
    """Enrich some CDRs anew from their payload, and compare every column."""
    columns = columns_of(connection, "cdrs")
    knowledge = Knowledge(Accounts(AccountDefaults()), ExtensionDirectory())
    sample = connection.execute(
        f"SELECT {', '.join(columns)}, payload::text FROM cdr.cdrs TABLESAMPLE SYSTEM (%s)"
        f" WHERE delivery_count = 1 LIMIT {_SAMPLE}".encode(),
        [min(100.0, 5e6 / one(connection.cursor(), "SELECT cdrs FROM seed.made"))],
    )
    for *values, payload in sample.fetchall():
        row = dict(zip(columns, values, strict=True))
        received_at_us = round(row["first_received_at"].timestamp() * 1e6)
        delivery = Delivery(
            row["delivery_id"].hex,
            row["delivery_place"],
            received_at_us,
            row["account"],
            row["format"],
            JobSerializer.loads(payload.encode()),
            tuple(row["notes"] or ()),
        )
        cdr = enrich([delivery], knowledge)
        again = dict(zip(columns, make_row(cdr, identify(cdr), [delivery], as_text(row["loaded_at"])), strict=True))
        for name in set(columns) - _NOT_COMPARED:
            if _plain(row[name]) != _plain(again[name], is_json=isinstance(row[name], dict | list)):
                raise Failed(f"{name} of {row['call_id']}: {row[name]!r}, the product makes it {again[name]!r}")


def _plain(value: Any, *, is_json: bool = False) -> Any:
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, datetime):
        return as_text(value)
    # So the product writes an empty list.
    if value in ([], "{}"):
        return None
    return json.loads(value) if is_json and isinstance(value, str) else value


def _check_calls(server: Server, connection: psycopg.Connection[Any]) -> None:
    """Have some calls folded anew, and see that nothing changes."""
    connection.execute(
        "CREATE TEMPORARY TABLE before AS SELECT * FROM cdr.calls TABLESAMPLE SYSTEM (%s)"
        f" ORDER BY leg_count DESC LIMIT {_FOLDED_SAMPLE}".encode(),
        [min(100.0, 5e6 / one(connection.cursor(), "SELECT cdrs FROM seed.made"))],
    )
    connection.execute(
        "INSERT INTO cdr.outbox (kind, call_keys, provider_times)"
        " SELECT 'calls', array_agg(call_key), array_agg(first_provider_time) FROM before"
    )
    folding = Database(server.url, "benchmark")
    folded = fold_waiting_calls(folding)
    folding.close()
    changed = one(
        connection.cursor(), "SELECT count(*) FROM (SELECT * FROM before EXCEPT SELECT * FROM cdr.calls) AS c"
    )
    if not folded or changed:
        raise Failed(f"of {folded} calls that were folded anew {changed} came out otherwise")


def _check_keys(connection: psycopg.Connection[Any]) -> None:
    """Compare the names of some recordings with those that the recorder would give."""
    rows = connection.execute(
        "SELECT account, started_at, call_id, call_type, storage_key FROM cdr.recordings WHERE status = 'stored'"
        f" LIMIT {_SAMPLE}".encode()
    )
    for account, started_at, call_id, call_type, key in rows:
        if key != recording_key(account, started_at, call_id, call_type, "mp3"):
            raise Failed(f"the recording of {call_id} is called {key}")


def _size(connection: psycopg.Connection[Any]) -> str:
    names = ("cdr.cdrs", "cdr.calls", "cdr.recordings", "cdr.deliveries", "cdr.call_links")
    sizes = [
        one(
            connection.cursor(),
            "SELECT pg_size_pretty(sum(pg_total_relation_size(oid))) FROM pg_class"
            " WHERE oid = %s::regclass OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = %s::regclass)",
            [name, name],
        )
        for name in names
    ]
    return ", ".join(f"{name} {size}" for name, size in zip(names, sizes, strict=True))
