"""Multiplies what the product has loaded, inside PostgreSQL: each copy is the same traffic some days earlier.

A copy has call ids of its own, and all that follows from them and from the time: identities, keys, partitions, addresses of
recordings, the payload. The copy 0 is what was loaded, so that big_table.py can compare these statements with the product.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from cdr.clock.zone_periods import periods_of
from common.call_codes import fold

WINDOW_DAYS = 4
TABLES = ("cdrs", "calls", "call_links", "deliveries", "recordings")
_ZONE = "Asia/Jerusalem"

_MAKE_SEED: LiteralString = """
    CREATE SCHEMA seed;
    CREATE TABLE seed.types (call_type text, folded text);
    CREATE TABLE seed.ids AS
    SELECT call_id, cdr.call_key('default', call_id) AS call_key
    FROM (
        SELECT call_id FROM cdr.cdrs UNION SELECT original_call_id FROM cdr.cdrs UNION SELECT call_id FROM cdr.calls
    ) AS known
    WHERE call_id IS NOT NULL;
"""
# What a copy changes of every call id, and of every CDR. The clock is read as worker/clock.py reads a wall clock.
# The shapes of ids are those of cdr/simulate/calls.py; a date in an id goes with the call's. No function of PostgreSQL's own
# language, which would take five times as long.
_MAKE_IDS: LiteralString = """
    CREATE TEMPORARY TABLE ids AS
    SELECT old_id, old_key, id, cdr.call_key('default', id) AS key
    FROM (
        SELECT
            call_id AS old_id, call_key AS old_key,
            CASE
                WHEN %(copy)s = 0 THEN call_id
                WHEN NOT is_dated AND call_id LIKE 'vc-%%' THEN
                    'vc-' || substr(digits, 1, 8) || '.' || ('x' || substr(digits, 9, 8))::bit(32)::bigint
                WHEN NOT is_dated THEN digits
                ELSE to_char(make_timestamp(
                    substr(call_id, 1, 4)::int, substr(call_id, 5, 2)::int, substr(call_id, 7, 2)::int,
                    substr(call_id, 9, 2)::int, substr(call_id, 11, 2)::int, substr(call_id, 13, 2)::int
                ) - make_interval(days => %(days)s), 'YYYYMMDDHH24MISS')
                || substr(digits, 1, 8) || CASE WHEN length(call_id) > 30 THEN '-' ELSE '' END || substr(digits, 9, 8)
            END AS id
        FROM (
            SELECT *, md5(%(copy)s || ' ' || call_id) AS digits, call_id ~ '^20[0-9]{12}[0-9a-f]{8}-?[0-9a-f]{8}$' AS is_dated
            FROM seed.ids OFFSET 0
        ) AS known
        OFFSET 0
    ) AS made
"""
_MAKE_MOVED: LiteralString = """
    CREATE TEMPORARY TABLE moved AS
    SELECT
        s.identity AS old_identity, s.call_id AS old_id, i.id, i.key, s.original_call_id AS old_original, o.id AS original,
        s.time_raw AS old_raw, t.raw, t.started_at, t.started_at - s.started_at AS moved_by,
        sha256(convert_to(concat(
            length(s.account), ':', s.account, length(i.id), ':', i.id,
            length(types.folded), ':', types.folded, length(t.raw::text), ':', t.raw,
            length(coalesce(s.caller_extension_code, '')), ':', s.caller_extension_code,
            length(coalesce(s.answering_extension_code, '')), ':', s.answering_extension_code
        ), 'UTF8')) AS identity
    FROM seed.cdrs AS s
    JOIN ids AS i ON i.old_id = s.call_id
    LEFT JOIN ids AS o ON o.old_id = s.original_call_id
    JOIN seed.types ON types.call_type = s.call_type
    CROSS JOIN LATERAL (
        SELECT raw, to_timestamp(raw - (%(offsets)s::bigint[])[width_bucket(raw, %(begins_locally)s::bigint[])]) AS started_at
        FROM (SELECT s.time_raw - %(days)s * 86400 AS raw) AS earlier
    ) AS t
"""
# Of each table the columns that a copy changes; all others are as loaded.
_PAYLOAD = "replace(replace(replace({}_text, old_id, id), coalesce(old_original, ''), coalesce(original, '')), old_raw::text, raw::text)::jsonb"
_URL = "replace(s.{}, old_id, id)"
_STATUS = "CASE WHEN get_byte(m.identity, 0) < 246 THEN 'stored' WHEN get_byte(m.identity, 0) < 253 THEN 'gone' ELSE 'refused' END"
_IF_STORED = "CASE WHEN get_byte(m.identity, 0) < 246 THEN {} END"
_EARLIER = "s.{} - make_interval(days => %(days)s)"
_CDRS = {
    "identity": "m.identity",
    "provider_time": _EARLIER.format("provider_time"),
    "call_id": "id",
    "call_key": "key",
    "original_call_id": "original",
    "started_at": "m.started_at",
    "time_raw": "raw",
    "recording_url": _URL.format("recording_url"),
    "payload": _PAYLOAD.format("payload"),
    "delivery_id": "CASE WHEN %(copy)s = 0 THEN s.delivery_id ELSE md5(%(copy)s || s.delivery_id::text)::uuid END",
    "first_received_at": "s.first_received_at + moved_by",
    "last_received_at": "s.last_received_at + moved_by",
    "loaded_at": "s.last_received_at + moved_by + interval '200 ms'",
}
_DELIVERIES = {
    "identity": "m.identity",
    "provider_time": _CDRS["provider_time"],
    "delivery_id": _CDRS["delivery_id"],
    "received_at": "s.received_at + moved_by",
    "fields": _PAYLOAD.format("fields"),
}
_RECORDINGS = {
    "identity": "m.identity",
    "provider_time": _CDRS["provider_time"],
    "call_id": "id",
    "started_at": "m.started_at",
    "source_url": _URL.format("source_url"),
    "source_key": f"sha256(convert_to({_URL.format('source_url')}, 'UTF8'))",
    "status": _STATUS,
    "storage_key": _IF_STORED.format(
        "s.account || to_char(m.started_at AT TIME ZONE 'UTC', '/YYYY/MM/DD/') || id || '-' || replace(s.call_type, ' ', '_') || '.mp3'"
    ),
    "bytes": _IF_STORED.format("8000 * (10 + get_byte(m.identity, 1))"),
    "sha256": _IF_STORED.format("sha256(m.identity)"),
    "seconds": _IF_STORED.format("10 + get_byte(m.identity, 1)"),
    "content_type": _IF_STORED.format("'audio/mpeg'"),
    "codec": _IF_STORED.format("'mp3'"),
    "attempts": "1",
    "created_at": "m.started_at + interval '10 min'",
    "pending_since": "m.started_at + interval '10 min'",
    "updated_at": "m.started_at + interval '11 min'",
}
_CALLS = {
    "call_key": "i.key",
    "call_id": "i.id",
    "call_ids": "CASE WHEN s.call_ids = ARRAY[s.call_id] THEN ARRAY[i.id] ELSE (SELECT array_agg(ids.id ORDER BY ids.id)"
    " FROM unnest(s.call_ids) AS o (id) JOIN ids ON ids.old_id = o.id) END",
    "started_at": "t.started_at",
    "ended_at": "t.started_at + (s.ended_at - s.started_at)",
    "last_received_at": "t.started_at + (s.last_received_at - s.started_at)",
    "first_provider_time": _EARLIER.format("first_provider_time"),
    "last_provider_time": _EARLIER.format("last_provider_time"),
}
_CALL_LINKS = {
    "call_key": "i.key",
    "call_id": "i.id",
    "original_call_key": "o.key",
    "original_call_id": "o.id",
    "root_key": "r.key",
}
_OF_CDR = " JOIN moved AS m ON m.old_identity = s.identity"
_JOINS = {
    "cdrs": _OF_CDR,
    "deliveries": _OF_CDR,
    "recordings": _OF_CDR,
    "calls": " JOIN ids AS i ON i.old_id = s.call_id CROSS JOIN LATERAL ("
    "SELECT to_timestamp(raw - (%(offsets)s::bigint[])[width_bucket(raw, %(begins_locally)s::bigint[])]) AS started_at FROM ("
    "SELECT instant + (%(offsets)s::bigint[])[width_bucket(instant, %(begins)s::bigint[])] - %(days)s * 86400 AS raw"
    " FROM (SELECT extract(epoch FROM s.started_at)::bigint AS instant) AS begun) AS earlier) AS t",
    "call_links": " JOIN ids AS i ON i.old_id = s.call_id JOIN ids AS o ON o.old_id = s.original_call_id"
    " JOIN ids AS r ON r.old_key = s.root_key",
}
_CHANGES: Mapping[str, Mapping[str, str]] = {
    "cdrs": _CDRS,
    "calls": _CALLS,
    "call_links": _CALL_LINKS,
    "deliveries": _DELIVERIES,
    "recordings": _RECORDINGS,
}
# The order in which a table of years has come to lie on the disk.
_ORDERS = {"cdrs": " ORDER BY m.raw", "calls": " ORDER BY s.started_at", "recordings": " ORDER BY s.recording_id"}
_INDEXES: LiteralString = """
    SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text, c.conname, pg_get_constraintdef(c.oid),
        replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ')
    FROM pg_index AS i LEFT JOIN pg_constraint AS c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u')
    WHERE i.indrelid = ANY(%s::regclass[]) ORDER BY c.conname IS NULL, 1
"""


def keep_seed(connection: psycopg.Connection[Any]) -> None:
    """Keep what is loaded as the seed, and empty the product's tables."""
    connection.execute(_MAKE_SEED)
    for table in TABLES:
        connection.execute(sql.SQL("CREATE TABLE seed.{0} AS SELECT * FROM cdr.{0}").format(sql.Identifier(table)))
    for table, column in (("cdrs", "payload"), ("deliveries", "fields")):
        # As text, and not compressed, because every copy begins with that.
        connection.execute(f"ALTER TABLE seed.{table} ADD {column}_text text STORAGE external".encode())
        connection.execute(f"UPDATE seed.{table} SET {column}_text = {column}::text".encode())
    connection.execute("VACUUM FULL seed.cdrs, seed.deliveries")
    types = [
        row[0] for row in connection.execute("SELECT DISTINCT call_type FROM cdr.cdrs WHERE call_type IS NOT NULL")
    ]
    connection.cursor().executemany("INSERT INTO seed.types VALUES (%s, %s)", [(each, fold(each)) for each in types])
    connection.execute("TRUNCATE cdr.cdrs, cdr.calls, cdr.call_links, cdr.deliveries, cdr.recordings, cdr.outbox")
    connection.execute(
        "VACUUM ANALYZE seed.cdrs, seed.calls, seed.call_links, seed.deliveries, seed.recordings, seed.ids"
    )


def add_copy(connection: psycopg.Connection[Any], copy: int) -> None:
    """Add the seed as it would have been loaded `copy` windows earlier."""
    values = {"copy": copy, "days": copy * WINDOW_DAYS, **periods_of(_ZONE)._asdict()}
    with connection.transaction(), psycopg.ClientCursor(connection) as cursor:
        cursor.execute("SET LOCAL work_mem = '256MB'")
        cursor.execute(_MAKE_IDS, values)
        cursor.execute("CREATE INDEX ON ids (old_id)")
        cursor.execute("ANALYZE ids")
        cursor.execute(_MAKE_MOVED, values)
        cursor.execute("ANALYZE moved")
        for table in TABLES:
            cursor.execute(_insert(connection, table).encode(), values)
        cursor.execute("DROP TABLE ids, moved")


def columns_of(connection: psycopg.Connection[Any], table: str) -> list[str]:
    """Return the columns of a table of the product that are not numbered by PostgreSQL itself."""
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = ('cdr.' || %s)::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attidentity = '' ORDER BY attnum",
        [table],
    )
    return [row[0] for row in rows]


def without_indexes(connection: psycopg.Connection[Any]) -> list[str]:
    """Drop all indexes of the tables, and return the statements that make the same ones again."""
    made = []
    for index, table, constraint, definition, create in connection.execute(
        _INDEXES, [[f"cdr.{each}" for each in TABLES]]
    ):
        if constraint is None:
            connection.execute(f"DROP INDEX {index}".encode())
            made.append(create)
        else:
            connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}".encode())
            made.append(f"ALTER TABLE {table} ADD CONSTRAINT {constraint} {definition}")
    return made


def _insert(connection: psycopg.Connection[Any], table: str) -> str:
    columns = columns_of(connection, table)
    changes = _CHANGES[table]
    values = ", ".join(changes.get(column, f"s.{column}") for column in columns)
    return (
        f"INSERT INTO cdr.{table} ({', '.join(columns)}) SELECT {values} FROM seed.{table} AS s"
        f"{_JOINS[table]}{_ORDERS.get(table, '')}"
    )
