"""Gathers what waits to be stored into one durable write, and tells each waiter when it is safe.

While one write is under way the next group gathers, so a lone CDR is written at once and a crowd shares its fsyncs.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import structlog
from msgspec import Raw

from common.errors import CdrError, QueueUnavailable
from common.job_queue import CDRS, KEEP_BODIES, LOAD_CDRS, NewJob

MAX_GROUP_CDRS = 1000
MAX_GROUP_BYTES = 8 * 1024 * 1024
# After a large group its senders come back within moments of each other: a short wait keeps them one group.
LINGER_SECONDS = 0.002
LINGER_AFTER_POSTS = 16

_log = structlog.get_logger("api.group_commit")


class JobStore(Protocol):
    """Where a group goes: returns once the jobs are safe, raises a CdrError when that is not certain."""

    async def write(self, jobs: Sequence[NewJob]) -> None:
        """Store all jobs or none."""


class Entries(NamedTuple):
    """What one post asks to store, each encoded as JSON: deliveries of CDRs, and bodies for the quarantine."""

    deliveries: list[bytes]
    bodies: list[bytes]

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return sum(map(len, self.deliveries)) + sum(map(len, self.bodies))


# Is called once: with None when the entries are safe, else with what kept them from being stored for certain.
Settle = Callable[[CdrError | None], None]


class _Waiting(NamedTuple):
    entries: Entries
    size: int
    settle: Settle


class GroupCommit:
    """The one writer of a receiver; `start` and `stop` belong to the application's lifespan."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._waiting: deque[_Waiting] = deque()
        self._work = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="group commit")
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Write what still waits, then end; raises what the writer died of, if it did."""
        self._stopping = True
        self._work.set()
        if self._task is not None:
            await asyncio.wait({self._task})
            self._task.result()

    async def store(self, entries: Entries) -> None:
        """Return once all entries are safe.

        Raises a CdrError when they could not be stored for certain. How much may wait is for admission to bound.
        """
        stored = asyncio.get_running_loop().create_future()

        def settle(error: CdrError | None) -> None:
            # A sender that hung up has cancelled its future; what it sent is stored all the same.
            if not stored.done():
                stored.set_result(error)

        self.submit(entries, settle)
        if (failure := await stored) is not None:
            raise failure

    def submit(self, entries: Entries, settle: Settle) -> None:
        """Store all entries and call `settle`, for who has no task that could wait; raises QueueUnavailable when stopping."""
        if self._stopping:
            raise QueueUnavailable("the receiver is stopping")
        self._waiting.append(_Waiting(entries, entries.size, settle))
        self._work.set()

    async def _run(self) -> None:
        last_group = 0
        while self._waiting or not self._stopping:
            if not self._waiting:
                self._work.clear()
                await self._work.wait()
                continue
            if last_group >= LINGER_AFTER_POSTS and len(self._waiting) * 2 < last_group:
                await asyncio.sleep(LINGER_SECONDS)
            last_group = await self._write_group()

    async def _write_group(self) -> int:
        group = self._take_group()
        error: CdrError | None = QueueUnavailable("the writer ended")
        try:
            await self._store.write(_jobs(group))
            error = None
        except CdrError as failure:
            error = failure
        finally:
            for waiting in group:
                _settle(waiting, error)
        return len(group)

    def _take_group(self) -> list[_Waiting]:
        """Take posts from the front until a job is full; at least one, however large."""
        group: list[_Waiting] = []
        cdrs = size = 0
        while self._waiting:
            waiting = self._waiting[0]
            cdrs += len(waiting.entries.deliveries) + len(waiting.entries.bodies)
            size += waiting.size
            if group and (cdrs > MAX_GROUP_CDRS or size > MAX_GROUP_BYTES):
                break
            group.append(self._waiting.popleft())
        return group

    def _ended(self, task: asyncio.Task[None]) -> None:
        """End the process when the writer died of a bug: a receiver that stores nothing must not stay up."""
        was_stopping, self._stopping = self._stopping, True
        while self._waiting:
            _settle(self._waiting.popleft(), QueueUnavailable("the writer ended"))
        if task.cancelled() or task.exception() is None:
            return
        _log.critical("the writer of group commits died", exc_info=task.exception())
        if not was_stopping:
            signal.raise_signal(signal.SIGTERM)


def _jobs(group: list[_Waiting]) -> list[NewJob]:
    deliveries = [delivery for waiting in group for delivery in waiting.entries.deliveries]
    bodies = [body for waiting in group for body in waiting.entries.bodies]
    return [*_batches(LOAD_CDRS, "load", deliveries), *_batches(KEEP_BODIES, "keep", bodies)]


def _batches(function: str, verb: str, entries: list[bytes]) -> list[NewJob]:
    # One post may be an array larger than a job should be.
    encoded = [Raw(entry) for entry in entries]
    batches = [encoded[start : start + MAX_GROUP_CDRS] for start in range(0, len(entries), MAX_GROUP_CDRS)]
    return [NewJob(CDRS, function, (batch,), f"{verb} {len(batch)}") for batch in batches]


def _settle(waiting: _Waiting, error: CdrError | None) -> None:
    try:
        waiting.settle(error)
    except Exception:  # noqa: BLE001 - the others of the group must have their answers, and the next group its write
        # What was stored is stored, and a sender without an answer sends again.
        _log.exception("an answer could not be given")
