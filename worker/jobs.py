"""The functions that RQ calls by name: rebuild the payload, run the work, end in success, retry or a set-aside CDR.

Success is a return; a `Transient` error puts the job back (worker/queue_worker.py); any other exception makes it a
failed job, to be listed and replayed with `cdr failed`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
import structlog

from common.delivery import Delivery, QuarantinedBody
from common.errors import NewerPayload
from common.job_queue import (
    CDRS,
    COUNTERS_KEY,
    KEEP_BODIES,
    LAST_LOADED_FIELD,
    LOAD_CDRS,
    PAYLOAD_VERSION,
    JobSerializer,
    NewJob,
    timestamp,
)
from common.redis_client import translated
from worker import context
from worker.bisection import Failed, raise_first
from worker.gather import gather
from worker.hook_jobs import read_hook_call
from worker.load_cdrs import load
from worker.outbox import enqueue_once
from worker.pipeline import NotLoadable
from worker.put_off import put_off
from worker.quarantine import keep
from worker.run_hook import run_hook as call_hook
from worker.scheduled_jobs import schedule_recordings

_log = structlog.get_logger("worker.jobs")


def load_cdrs(version: int, batch: list[Any]) -> None:
    """Load a batch of deliveries; a CDR that cannot be loaded becomes a failed job of its own, or is tried again later."""
    _check(version)
    deliveries, refused = _rebuild(batch, Delivery)
    here = context.current()
    here.refresh()
    gathered = gather(deliveries, here.knowledge)
    loaded = load(here.database, gathered.records, here.knowledge)
    refused += gathered.refused + loaded.refused
    _settle(LOAD_CDRS, len(batch), refused, loaded.held)
    _count(loaded=len(batch) - sum(len(each.items) for each in refused + loaded.held))
    here.follow_up.tell()


def load_batches(payloads: list[tuple[int, list[Any]]]) -> int:
    """Load the batches of several jobs, given by their arguments: each part of them in one transaction, all or none.

    Returns how many deliveries they carry, for whoever notes that the jobs are done to count. Raises whatever keeps one of
    them from being loaded, when parts before it are loaded; each job is then for `load_cdrs` alone, which loads those once.
    """
    deliveries: list[Delivery] = []
    for version, batch in payloads:
        _check(version)
        rebuilt, broken = _rebuild(batch, Delivery)
        raise_first(broken)
        deliveries += rebuilt
    here = context.current()
    here.refresh()
    here.part_loader.load(deliveries)
    here.follow_up.tell()
    return len(deliveries)


def keep_bodies(version: int, batch: list[Any]) -> None:
    """Write bodies that could not be taken as CDRs into the quarantine; one that cannot be written costs itself only."""
    _check(version)
    bodies, refused = _rebuild(batch, QuarantinedBody)
    kept = keep(context.current().database, bodies)
    _settle(KEEP_BODIES, len(batch), refused + kept.refused, kept.held)


def fetch_recordings(version: int, recording_ids: list[int]) -> None:
    """Fetch recordings into the store; those that are not there yet are scheduled again."""
    fetch_batches([(version, recording_ids)])


def fetch_batches(payloads: list[tuple[int, list[int]]]) -> None:
    """Fetch the recordings of several jobs, given by their arguments, side by side."""
    recording_ids: list[int] = []
    for version, some in payloads:
        _check(version)
        recording_ids += some
    here = context.current()
    schedule_recordings(here.redis, here.recordings.fetch(recording_ids))


def run_hook(version: int, call: Any) -> None:
    """Call one of the user's own functions with one CDR; when it fails it is called again later, by itself."""
    _check(version)
    here = context.current()
    call_hook(read_hook_call(call), here.hooks, here.database, here.redis, here.hook_settings.hook_retry_seconds)


def _check(version: int) -> None:
    if version > PAYLOAD_VERSION:
        raise NewerPayload(f"the job's payload has version {version}, this worker knows {PAYLOAD_VERSION}")


def _rebuild(batch: Any, kind: Any) -> tuple[list[Any], list[Failed]]:
    """Return the items of a payload, and those that are none of ours, each by itself."""
    try:
        return msgspec.convert(batch, list[kind], strict=True), []
    except msgspec.ValidationError as error:
        if not isinstance(batch, list):
            raise NotLoadable(f"the payload is not one of ours: {error}") from error
    items, broken = [], []
    for each in batch:
        try:
            items.append(msgspec.convert(each, kind, strict=True))
        except msgspec.ValidationError as error:
            broken.append(Failed([each], NotLoadable(f"the payload is not one of ours: {error}")))
    return items, broken


def _settle(function: str, size: int, refused: list[Failed], held: list[Failed]) -> None:
    """Put off what is held, and set aside what is refused of a batch of `size`; raise the reason if that was all of it."""
    refused = refused + put_off(context.current().redis, function, held, _key)
    if size == 1:
        raise_first(refused)
    _set_aside(function, refused)


def _set_aside(function: str, refused: list[Failed]) -> None:
    """Give each item that was refused a job of its own, which will fail by itself and say why.

    The job's id comes from the item's, so that a batch that runs twice sets it aside once.
    """
    items = [item for each in refused for item in each.items]
    if not items:
        return
    jobs = [NewJob(CDRS, function, ([item],), "set aside", _key(item)) for item in items]
    enqueue_once(context.current().redis, jobs)
    _log.warning("set aside", count=len(jobs), first=str(refused[0].error))


def _key(item: Any) -> str:
    """Name a delivery, a body or what is neither, the same at every run."""
    if isinstance(item, Delivery):
        return f"{item.delivery_id}-{item.place}"
    return sha256(JobSerializer.dumps(item)).hexdigest()[:32]


def _count(loaded: int) -> None:
    if not loaded:
        return
    with translated(), context.current().redis.pipeline(transaction=False) as pipeline:
        pipeline.hincrby(COUNTERS_KEY, "loaded", loaded)
        pipeline.hset(COUNTERS_KEY, LAST_LOADED_FIELD, timestamp())
        pipeline.execute()
