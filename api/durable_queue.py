"""Writes to Redis so that it survives a crash of it: one MULTI, then its own word that the AOF is on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import redis

from common.errors import QueueUnavailable
from common.job_queue import NewJob
from common.redis_client import commit_connection, translated_async
from common.settings import RedisSettings


class DurableQueue:
    """One connection to Redis, used by one writer at a time."""

    def __init__(self, settings: RedisSettings, least_timeout_seconds: float = 0.0) -> None:
        """`least_timeout_seconds` is for a writer that no sender waits for."""
        self._level = settings.ack_level
        self._replicas = settings.ack_replicas
        self._timeout_seconds = max(settings.ack_timeout_ms / 1000, least_timeout_seconds)
        self._connection = commit_connection(settings.redis_url.get_secret_value())

    async def write(self, jobs: Sequence[NewJob]) -> None:
        """Queue all jobs or none, and return once they are durable at the chosen level.

        Raises QueueUnavailable when that is not certain: the jobs may then be there or not.
        """
        await self.commit([command for job in jobs for command in job.commands()])

    async def commit(self, writes: Sequence[tuple[Any, ...]]) -> None:
        """Carry out all commands or none, and return once they are durable at the chosen level.

        Raises QueueUnavailable when that is not certain.
        """
        commands: list[tuple[Any, ...]] = [("MULTI",), *writes, ("EXEC",)]
        if self._level == "fsync":
            # The timeout of WAITAOF ends a wait that ours would cut off, so that the connection stays in step.
            commands.append(("WAITAOF", 1, self._replicas, int(self._timeout_seconds * 800)))
        with translated_async():
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    replies = await self._send(commands)
            except BaseException:
                # Replies may still be on their way, and the next write must not read them as its own.
                await self._connection.disconnect(nowait=True)
                raise
        self._check(replies)

    async def _send(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        # A server that restarted or closed an idle connection would cost a sender its answer: that shows before a write.
        if self._connection.is_connected and await self._connection.can_read():
            await self._connection.disconnect(nowait=True)
        await self._connection.connect()
        await self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
        return [await self._connection.read_response() for _ in commands]

    def _check(self, replies: list[Any]) -> None:
        confirmation = replies.pop() if self._level == "fsync" else [1, self._replicas]
        results = replies[-1]
        if not isinstance(results, list) or not isinstance(confirmation, list):
            raise QueueUnavailable("Redis: what answers is no Redis")
        refused = [result for result in results if isinstance(result, redis.RedisError)]
        if refused:
            raise QueueUnavailable(f"Redis refused a write: {refused[0]}")
        if confirmation[0] < 1 or confirmation[1] < self._replicas:
            raise QueueUnavailable(
                f"Redis did not confirm in {self._timeout_seconds} s that the write is on disk "
                f"(local {confirmation[0]} of 1, replicas {confirmation[1]} of {self._replicas})"
            )

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.disconnect()
