"""Waits until CDRs are loaded, and checks their rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from benchmarks.bench import Server
from benchmarks.processes import Failed, wait_until
from common.cdr import read_cdr
from common.delivery import Delivery
from common.job_queue import CDRS, intermediate_key, queue_key
from common.postgres import statement
from common.queue_format import lease_key
from common.redis_client import RedisClient
from worker.rows import Key, identify

_SECONDS_TO_LOAD = 1800.0


def keys_of(deliveries: Iterable[Delivery]) -> set[Key]:
    """Return the unique keys of the CDRs of some deliveries, as the worker computes them."""
    return {identify(read_cdr(each.account, each.received_at, each.fields, {})) for each in deliveries}


def wait_until_loaded(redis: RedisClient, cursor: psycopg.Cursor[Any], seconds: float = _SECONDS_TO_LOAD) -> None:
    """Return once no CDR waits or is in work, and every call is folded."""

    def loaded() -> bool:
        waiting = (redis.llen(queue_key(CDRS)), redis.llen(intermediate_key(CDRS)), redis.zcard(lease_key(CDRS)))
        return not any(waiting) and one(cursor, "SELECT count(*) FROM cdr.outbox WHERE kind = 'calls'") == 0

    wait_until(loaded, "the load of the backlog", seconds)


def check_rows(cursor: psycopg.Cursor[Any], wanted: set[Key]) -> None:
    """Raise Failed unless every one of these CDRs is a row, and in a call that is folded."""
    with cursor.connection.transaction():
        cursor.execute(statement("worker", "look_up_by_key"))
        missing = one(
            cursor,
            "SELECT count(*) FROM unnest(%s::bytea[], %s::timestamp[]) AS w (identity, provider_time)"
            " WHERE NOT EXISTS (SELECT FROM cdr.cdrs AS c"
            " JOIN cdr.calls AS k ON c.call_id = ANY(k.call_ids) AND k.call_key = coalesce("
            " (SELECT root_key FROM cdr.call_links AS l WHERE l.call_key = c.call_key), c.call_key)"
            " WHERE c.identity = w.identity AND c.provider_time = w.provider_time)",
            [[identity for identity, _ in wanted], [provider_time for _, provider_time in wanted]],
        )
    if missing:
        raise Failed(f"{missing} of {len(wanted)} CDRs are no row, or in no call")


def one(cursor: psycopg.Cursor[Any], query: str, values: Sequence[Any] = ()) -> Any:
    """Run a query of one row with one column, and return that."""
    row = cursor.execute(query.encode(), values).fetchone()
    if row is None:
        raise Failed(f"no row: {query}")
    return row[0]


def connected(server: Server) -> psycopg.Connection[Any]:
    """Connect to PostgreSQL, each statement by itself."""
    return psycopg.connect(server.url, autocommit=True)
