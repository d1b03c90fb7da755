"""The functions that RQ calls by name: rebuild the payload, run the work, end in success, retry or a set-aside CDR.

Success is a return; a `Transient` error puts the job back (worker/queue_worker.py); any other exception makes it a
failed job, to be listed and replayed with `cdr failed`.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
import structlog

from common.cdr import Cdr
from common.delivery import Delivery, QuarantinedBody
from common.errors import CdrError, NewerPayload
from common.job_queue import CDRS, COUNTERS_KEY, LAST_LOADED_FIELD, LOAD_CDRS, PAYLOAD_VERSION, NewJob, timestamp
from common.redis_client import translated
from worker import context
from worker.fetch_recording import fetch_recordings as fetch
from worker.load_cdrs import Refused, gather, load, load_all
from worker.outbox import enqueue, work_off
from worker.pipeline import Knowledge, NotLoadable, enrich
from worker.quarantine import keep
from worker.scheduled_jobs import schedule_recordings

FOLLOW_UP_SECONDS = 0.1

_log = structlog.get_logger("worker.jobs")


def load_cdrs(version: int, batch: list[Any]) -> None:
    """Load a batch of deliveries; a CDR that cannot be loaded becomes a failed job of its own."""
    _check(version)
    deliveries = _rebuild(batch, list[Delivery])
    here = context.current()
    here.refresh()
    enriched, refused = _enrich_each(deliveries, here.knowledge)
    refused += load(here.database, gather(enriched), here.knowledge)
    if refused and len(deliveries) == 1:
        raise refused[0].error
    _set_aside(refused)
    _count(loaded=len(deliveries) - sum(len(each.deliveries) for each in refused))
    _after_commit()


def load_batches(payloads: list[tuple[int, list[Any]]]) -> None:
    """Load the batches of several jobs, given by their arguments, in one transaction: all or none.

    Raises whatever keeps one of them from being loaded; each is then for `load_cdrs` alone.
    """
    deliveries: list[Delivery] = []
    for version, batch in payloads:
        _check(version)
        deliveries += _rebuild(batch, list[Delivery])
    here = context.current()
    here.refresh()
    enriched, refused = _enrich_each(deliveries, here.knowledge)
    if refused:
        raise refused[0].error
    load_all(here.database, gather(enriched), here.knowledge)
    _count(loaded=len(deliveries))
    _after_commit()


def keep_bodies(version: int, batch: list[Any]) -> None:
    """Write bodies that could not be taken as CDRs into the quarantine."""
    _check(version)
    keep(context.current().database, _rebuild(batch, list[QuarantinedBody]))


def fetch_recordings(version: int, recording_ids: list[int]) -> None:
    """Fetch recordings into the store; those that are not there yet are scheduled again."""
    _check(version)
    here = context.current()
    recordings = here.recordings
    retries = fetch(here.database, recordings.store, recording_ids, recordings.guard, recordings.limits)
    schedule_recordings(here.redis, retries)


def _check(version: int) -> None:
    if version > PAYLOAD_VERSION:
        raise NewerPayload(f"the job's payload has version {version}, this worker knows {PAYLOAD_VERSION}")


def _rebuild(batch: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(batch, kind, strict=True)
    except msgspec.ValidationError as error:
        raise NotLoadable(f"the payload is not one of ours: {error}") from error


def _enrich_each(deliveries: list[Delivery], knowledge: Knowledge) -> tuple[list[tuple[Cdr, Delivery]], list[Refused]]:
    """Run the stages on each delivery by itself, so that one that breaks them stops nobody else."""
    enriched, refused = [], []
    for delivery in deliveries:
        try:
            enriched.append((enrich([delivery], knowledge), delivery))
        except CdrError as error:
            refused.append(Refused([delivery], error))
    return enriched, refused


def _set_aside(refused: list[Refused]) -> None:
    """Give each refused CDR a job of its own, which will fail by itself and say why.

    The job's id comes from the delivery's, so that a batch that runs twice sets a CDR aside once.
    """
    if not refused:
        return
    jobs = [
        NewJob(CDRS, LOAD_CDRS, ([delivery],), "load 1, set aside", f"{delivery.delivery_id}-{delivery.place}")
        for each in refused
        for delivery in each.deliveries
    ]
    enqueue(context.current().redis, jobs)
    _log.warning("CDRs set aside", count=len(jobs), first=str(refused[0].error))


def _count(loaded: int) -> None:
    if not loaded:
        return
    with translated(), context.current().redis.pipeline(transaction=False) as pipeline:
        pipeline.hincrby(COUNTERS_KEY, "loaded", loaded)
        pipeline.hset(COUNTERS_KEY, LAST_LOADED_FIELD, timestamp())
        pipeline.execute()


def _after_commit() -> None:
    """Do what follows a load: at once when there is little to do, for many loads together when there is much.

    The rows stand, so a failure here is only logged. What is left is for the next load, or for the scheduler.
    """
    here = context.current()
    if time.monotonic() < here.follow_up_due:
        return
    here.follow_up_due = time.monotonic() + FOLLOW_UP_SECONDS
    try:
        work_off(here.database, here.redis)
    except CdrError as error:
        _log.warning("left to the scheduler", reason=error.reason, error=str(error))
