"""Puts together what keeps CDRs: the group commit, Redis and its watch, the spool and the way back from it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

from api.drain_spool import WRITE_SECONDS, Drain
from api.durable_queue import DurableQueue
from api.durable_store import DurableStore
from api.group_commit import GroupCommit
from api.metrics import Metrics
from api.redis_watch import RedisWatch
from api.spool_thread import SpoolThread
from common.redis_client import connect_async
from common.settings import RedisSettings, SpoolSettings

_log = structlog.get_logger("api.storage")


class Storage:
    """Everything between a request that was read and the disk that its answer stands on."""

    def __init__(self, redis: RedisSettings, spool: SpoolSettings, metrics: Metrics) -> None:
        self.questions = connect_async(redis.redis_url.get_secret_value())
        self._spool = SpoolThread(spool, metrics.count_spooled) if spool.spool_dir else None
        self.watch = RedisWatch(redis, self.questions, self._spool.state if self._spool else lambda: None)
        self._queue = DurableQueue(redis)
        self.group_commit = GroupCommit(DurableStore(self._queue, self.watch, self._spool))
        # A connection of its own, so that what comes back never holds up what comes in.
        self._drain_queue = DurableQueue(redis, WRITE_SECONDS)
        self._drain: Drain | None = None
        if self._spool:
            self._drain = Drain(
                self._spool, self._drain_queue, self.watch, spool.spool_drain_per_second, metrics.count_drained
            )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open what is needed, run in the background while the block runs, then store what still waits and close."""
        if self._spool:
            await self._spool.open()
        await self.watch.look()
        await self.group_commit.start()
        tasks = [_task(self.watch.run(), "watch of Redis")]
        if self._drain:
            tasks.append(_task(self._drain.run(), "drain of the spool"))
        try:
            yield
        finally:
            await self.group_commit.stop()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._close()

    async def _close(self) -> None:
        if self._spool:
            await self._spool.close()
        await self.watch.close()
        for queue in (self._queue, self._drain_queue):
            await queue.close()
        await self.questions.aclose()


def _task(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[None]) -> None:
    """End the process when a task died of a bug: without it CDRs would go the wrong way, or stay in the spool."""
    if not task.cancelled() and (error := task.exception()):
        _log.critical("a background task died", task=task.get_name(), exc_info=error)
        signal.raise_signal(signal.SIGTERM)
