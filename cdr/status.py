"""The command `cdr status`: what waits, who works, what was loaded; each part says so when its server is away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from cdr.database import opened_database
from cdr.printing import print_json, print_line, print_table
from common.errors import CdrError
from common.postgres import statement
from common.queue_state import read_counters, read_queues, read_workers
from common.receiver_state import ReceiverState, read_receivers
from common.redis_client import connect
from common.settings import RedisSettings, load

_TIMEOUT_SECONDS = 3.0


def run_status(*, as_json: bool) -> int:
    """Print the parts; returns the exit code, 1 when a server does not answer."""
    errors: dict[str, str] = {}
    status = {**_part("redis", _read_redis, errors), **_part("postgresql", _read_database, errors), "errors": errors}
    if as_json:
        print_json(status)
    else:
        _print(status)
    return 1 if errors else 0


def _part(server: str, read: Callable[[], dict[str, Any]], errors: dict[str, str]) -> dict[str, Any]:
    try:
        return read()
    except CdrError as error:
        errors[server] = " ".join(str(error).split())
        return {}


def _read_redis() -> dict[str, Any]:
    settings = load(RedisSettings)
    connection = connect(settings.redis_url.get_secret_value(), _TIMEOUT_SECONDS, retries=0)
    workers = read_workers(connection)
    return {
        "ack_level": settings.ack_level,
        "queues": read_queues(connection, workers),
        "workers": workers,
        "receivers": read_receivers(connection),
        "counters": read_counters(connection),
    }


def _read_database() -> dict[str, Any]:
    with opened_database("status") as database, database.transaction() as cursor:
        row = cursor.execute(statement("cdr", "read_load_state")).fetchone() or (None, None, None)
    entries, oldest_seconds, kept = row
    oldest = None if oldest_seconds is None else round(float(oldest_seconds), 1)
    return {"outbox": {"entries": entries, "oldest_seconds": oldest}, "quarantine_kept": kept}


def _print(status: dict[str, Any]) -> None:
    """Print a table a part, and a line for each server that does not answer."""
    if "queues" in status:
        _print_queues(status)
    if "outbox" in status:
        outbox = status["outbox"]
        rows = [
            ("entries in the outbox", outbox["entries"]),
            ("oldest entry", _age(outbox["oldest_seconds"])),
            ("bodies in quarantine", status["quarantine_kept"]),
        ]
        print_table(("PostgreSQL", ""), rows)
    for server, error in status["errors"].items():
        print_line(f"{server} does not answer: {error}")


def _print_queues(status: dict[str, Any]) -> None:
    print_table(
        ("queue", "waiting", "oldest", "scheduled", "failed", "workers"),
        [(q.queue, q.waiting, _age(q.oldest_seconds), q.scheduled, q.failed, q.workers) for q in status["queues"]],
    )
    print_line()
    print_table(
        ("worker", "queue", "state", "last heartbeat", "host"),
        [(w.name, w.queue, w.state, w.last_heartbeat, w.host) for w in status["workers"]],
    )
    print_line()
    print_table(
        ("receiver", "stores in", "spooled CDRs", "entries", "bytes", "oldest", "why"),
        [_receiver_row(receiver) for receiver in status["receivers"]],
    )
    print_line()
    counters = status["counters"]
    rows = [
        ("CDRs loaded", counters.loaded),
        ("jobs refused", counters.refused),
        ("last loaded at", counters.last_loaded_at or "never"),
        ("acknowledged at level", status["ack_level"]),
    ]
    print_table(("Redis", ""), rows)
    print_line()


def _receiver_row(receiver: ReceiverState) -> tuple[object, ...]:
    spool = receiver.spool
    if spool is None:
        return receiver.name, receiver.stores_in, "no spool", None, None, None, receiver.reason
    reasons = "; ".join(filter(None, (receiver.reason, spool.problem)))
    return (
        receiver.name,
        receiver.stores_in,
        spool.cdrs,
        spool.entries,
        spool.bytes,
        _age(spool.oldest_seconds),
        reasons,
    )


def _age(seconds: float | None) -> str:
    return "" if seconds is None else str(timedelta(seconds=round(seconds)))
