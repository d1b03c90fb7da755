"""Brings what waits in the spool to Redis, what has waited longest first, slowly enough to leave room for live traffic.

An entry is deleted only after Redis has confirmed its job: killed in between, the job is queued twice and loads once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from api.durable_queue import DurableQueue
from api.redis_watch import RedisWatch
from api.spool_thread import SpoolThread
from common.errors import CdrError, QueueUnavailable

CDRS_AT_ONCE = 500
# No sender waits for the drain. Cut off sooner, what a slow disk or line takes longer for would be queued again and again.
WRITE_SECONDS = 30.0
ADOPT_SECONDS = 5.0
PAUSE_SECONDS = 0.5

_log = structlog.get_logger("api.drain_spool")


class Drain:
    """One task that empties the spools of a receiver, on a connection of its own."""

    def __init__(
        self,
        spool: SpoolThread,
        queue: DurableQueue,
        watch: RedisWatch,
        per_second: int,
        drained: Callable[[int], None],
    ) -> None:
        self._spool = spool
        self._queue = queue
        self._watch = watch
        self._per_second = per_second
        self._brought_back = 0
        self._drained = drained

    async def run(self) -> None:
        """Drain whenever something waits and Redis takes it, until cancelled."""
        await self._adopt()
        while True:
            # Before the look at the spool: what comes in after it must wake the wait.
            self._spool.filled.clear()
            moved = await self._move_some()
            if moved:
                self._brought_back += moved
                await asyncio.sleep(moved / self._per_second)
            elif self._watch.reason is None:
                self._tell_what_was_brought_back()
                await self._wait_until_filled()
            else:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _move_some(self) -> int:
        """Move some entries and return how many CDRs were in them; 0 when nothing waits or it is not the time."""
        if self._watch.reason is not None:
            return 0
        try:
            waiting = await self._spool.oldest(min(CDRS_AT_ONCE, self._per_second))
            if waiting is None:
                return 0
            await self._queue.write(waiting.jobs)
            self._drained(waiting.cdrs)
            await self._spool.delete(waiting)
            await self._spool.recheck()
        except QueueUnavailable as error:
            self._watch.distrust(str(error))
            return 0
        except CdrError as error:
            _log.warning("the spool is not drained for now", reason=error.reason, error=str(error))
            await asyncio.sleep(PAUSE_SECONDS)
            return 0
        return waiting.cdrs

    def _tell_what_was_brought_back(self) -> None:
        if self._brought_back:
            _log.info("the spool is drained", cdrs=self._brought_back)
            self._brought_back = 0

    async def _wait_until_filled(self) -> None:
        """Wait for something to come into the spool, or for the time to look for what others left behind."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ADOPT_SECONDS):
                await self._spool.filled.wait()
        await self._adopt()

    async def _adopt(self) -> None:
        with suppress(CdrError):
            await self._spool.recheck()
            if adopted := await self._spool.adopt():
                _log.info("spools of other receivers taken over", count=adopted)
