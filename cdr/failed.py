"""The commands `cdr failed`: lists failed jobs, shows one, puts them back into their queues, deletes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from cdr.options import DryRun, Everything, Json, Limit, Rate, Reason, Since, Until, failed, require_choice, wrong_usage
from cdr.printing import print_count, print_json, print_line, print_list, print_table, print_text
from common.environment import load
from common.failed_details import read_details
from common.failed_jobs import FailedJob, Filter, find_failed, find_ids, list_failed
from common.job_queue import QUEUES
from common.redis_client import RedisClient, connect
from common.replay_failed import discard, replay
from common.settings import RedisSettings

app = typer.Typer(no_args_is_help=True, help="Failed jobs: CDRs and recordings that wait for a cause to be mended.")

Queue = Annotated[str | None, typer.Option(help=f"only of this queue: {', '.join(QUEUES)}")]
CallId = Annotated[str | None, typer.Option(help="only those with a CDR of this call")]

_DONE = {"replay": "queued again", "discard": "deleted"}
_COLUMNS = ("job", "queue", "failed at", "tries", "reason", "SQLSTATE", "calls", "error")


@app.command("list")
def list_jobs(
    *,
    queue: Queue = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    call_id: CallId = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """List failed jobs with their reason, oldest first in each queue."""
    wanted = _filter(queue, reason, since, until, call_id)
    print_list(list_failed(_redis(), wanted), _COLUMNS, _row, as_json=as_json, limit=limit)


@app.command()
def show(job_id: str, as_json: Json = False) -> None:
    """Show one failed job: its reason, the traceback, the CDRs."""
    connection = _redis()
    job = find_failed(connection, job_id)
    if job is None:
        failed(f"there is no failed job {job_id}")
    details = read_details(connection, job_id)
    if as_json:
        print_json({**asdict(job), **asdict(details)})
        return
    print_table(("", ""), [(name, _joined(value)) for name, value in asdict(job).items()])
    print_line()
    print_text(details.traceback or "RQ has kept no traceback")
    print_json(details.cdrs or details.arguments)


@app.command("replay")
def replay_jobs(
    *,
    queue: Queue = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    call_id: CallId = None,
    limit: Limit = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    rate: Rate = None,
    as_json: Json = False,
) -> None:
    """Put failed jobs back into their queues and print how many, once they are there."""
    wanted = _filter(queue, reason, since, until, call_id)
    require_choice(filtered=not wanted.is_empty, everything=everything)
    _act("replay", replay, wanted, limit, dry_run=dry_run, rate=rate, as_json=as_json)


@app.command("discard")
def discard_jobs(
    *,
    queue: Queue = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    call_id: CallId = None,
    limit: Limit = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    rate: Rate = None,
    as_json: Json = False,
) -> None:
    """Delete failed jobs and the CDRs in them for good, and print how many."""
    wanted = _filter(queue, reason, since, until, call_id)
    require_choice(filtered=not wanted.is_empty, everything=everything)
    _act("discard", discard, wanted, limit, dry_run=dry_run, rate=rate, as_json=as_json)


def _act(
    verb: str,
    act: Callable[..., int],
    wanted: Filter,
    limit: int | None,
    *,
    dry_run: bool,
    rate: float | None,
    as_json: bool,
) -> None:
    """Replay or discard the jobs that are meant, noting who did it, and print how many."""
    connection = _redis()
    if dry_run:
        found = sum(1 for _ in list_failed(connection, wanted, limit))
        would_be = f"would be {_DONE[verb]}"
        print_count(found, f"failed job {would_be}", f"failed jobs {would_be}", as_json=as_json)
        return
    from cdr.audit import audited

    with audited(f"failed {verb}", {**asdict(wanted), "limit": limit}) as tell:
        count = act(connection, find_ids(connection, wanted, limit), jobs_a_second=rate, progress=tell)
    print_count(count, f"failed job was {_DONE[verb]}", f"failed jobs were {_DONE[verb]}", as_json=as_json)


def _redis() -> RedisClient:
    # Whoever types this while Redis hangs is told so soon.
    return connect(load(RedisSettings).redis_url.get_secret_value(), timeout_seconds=5, retries=0)


def _filter(
    queue: str | None, reason: str | None, since: datetime | None, until: datetime | None, call_id: str | None
) -> Filter:
    if queue is not None and queue not in QUEUES:
        wrong_usage(f"there is no queue {queue!r}: it is one of {', '.join(QUEUES)}")
    first, last = (None if moment is None else moment.timestamp() for moment in (since, until))
    return Filter(queue, reason, first, last, call_id)


def _row(job: FailedJob) -> tuple[object, ...]:
    calls = ", ".join(job.call_ids[:3]) + (f" and {len(job.call_ids) - 3} more" if len(job.call_ids) > 3 else "")
    error = job.error.splitlines()[0] if job.error else ""
    return job.job_id, job.queue, job.failed_at, job.attempts, job.reason, job.sqlstate, calls, error


def _joined(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list) else value
