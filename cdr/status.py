"""The command `cdr status`: what waits, who works, what was loaded; each part says so when its server is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from api.spool_note import SpoolNote, read_notes
from cdr.database import opened_database
from cdr.moments import show_moment
from cdr.printing import print_json, print_line, print_table
from cdr.show_env import use_settings_of
from common.environment import load
from common.errors import CdrError
from common.postgres import statement
from common.queue_state import read_counters, read_queues, read_workers
from common.receiver_state import ReceiverState, read_receivers
from common.redis_client import connect
from common.settings import RedisSettings, SpoolSettings

_TIMEOUT_SECONDS = 3.0


def run_status(data: Path | None = None, *, as_json: bool) -> int:
    """Print the parts; returns the exit code, 1 when a server does not answer.

    With `data` the settings are those of the `cdr up` that runs on that folder; raises ConfigurationError when none
    does.
    """
    use_settings_of(data)
    errors: dict[str, str] = {}
    status = {
        **_part("redis", _read_redis, errors),
        **_part("postgresql", _read_database, errors),
        **_part("spool", _read_spools, errors),
        "errors": errors,
    }
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


def _read_spools() -> dict[str, Any]:
    """Read the spools of this host from their folder: receivers tell of themselves in Redis, which may be away."""
    folder = load(SpoolSettings).spool_dir
    return {} if folder is None else {"spools_here": [_spool(note) for note in read_notes(folder)]}


def _spool(note: SpoolNote) -> dict[str, Any]:
    if note.totals is None:
        return {"file": note.file, "cdrs": None, "entries": None, "bytes": None, "oldest_seconds": None}
    entries, cdrs, size, oldest = note.totals
    age = None if oldest is None else round(max(0.0, time.time() - oldest), 1)
    return {"file": note.file, "cdrs": cdrs, "entries": entries, "bytes": size, "oldest_seconds": age}


def _print(status: dict[str, Any]) -> None:
    """Print a table a part, and a line for each server that does not answer."""
    if "queues" in status:
        _print_queues(status)
    else:
        _print_spools(status)
    if "outbox" in status:
        outbox = status["outbox"]
        rows = [
            ("entries in the outbox", outbox["entries"]),
            ("oldest entry", _age(outbox["oldest_seconds"])),
            ("bodies in quarantine", status["quarantine_kept"]),
        ]
        print_table(("PostgreSQL", ""), rows)
    for server, error in status["errors"].items():
        # What is not set here is no outage.
        print_line(f"{server}: {error}" if error.endswith("is required") else f"{server} does not answer: {error}")


def _print_spools(status: dict[str, Any]) -> None:
    """Print what takes the place of what receivers tell in Redis."""
    if "spools_here" in status:
        columns = ("file", "cdrs", "entries", "bytes", "oldest_seconds")
        rows = [[each[name] for name in columns] for each in status["spools_here"]]
        titles = ("spool on this host", "spooled CDRs", "entries", "bytes", "oldest")
        print_table(titles, [(*row, _age(oldest)) for *row, oldest in rows])
        print_line()
    elif "spool" not in status["errors"]:
        print_line("the spools are not seen from here: set CDR_SPOOL_DIR, or beside a cdr up: cdr status --data DIR")


def _print_queues(status: dict[str, Any]) -> None:
    print_table(
        ("queue", "waiting", "oldest", "in work", "scheduled", "failed", "workers"),
        [
            (q.queue, q.waiting, _age(q.oldest_seconds), q.in_work, q.scheduled, q.failed, q.workers)
            for q in status["queues"]
        ],
    )
    print_line()
    print_table(
        ("worker", "queue", "state", "last heartbeat", "host"),
        [(w.name, w.queue, w.state, show_moment(w.last_heartbeat), w.host) for w in status["workers"]],
    )
    print_line()
    print_table(
        ("receiver", "stores in", "spooled CDRs", "entries", "bytes", "oldest", "why"),
        [_receiver_row(receiver) for receiver in status["receivers"]],
    )
    print_line()
    counters = status["counters"]
    rows = [
        ("deliveries loaded", counters.loaded),
        ("jobs refused", counters.refused),
        ("jobs of dead workers put back", counters.recovered),
        ("jobs found in no place, put back", counters.orphans),
        ("last loaded at", show_moment(counters.last_loaded_at or "never")),
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
