"""A reply that comes late is never taken for the answer to another write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from api.durable_queue import DurableQueue
from common.errors import QueueUnavailable
from common.job_queue import CDRS, LOAD_CDRS, NewJob
from common.settings import RedisSettings

REPLIES = {
    b"MULTI": b"+OK\r\n",
    b"EXEC": b"*4\r\n:1\r\n:0\r\n:1\r\n:1\r\n",
    b"WAITAOF": b"*2\r\n:1\r\n:0\r\n",
    b"CLIENT": b"+OK\r\n",
}


class FakeServer:
    """Speaks enough of Redis's protocol; on its first connection the first HSET is refused and the rest kept back."""

    def __init__(self) -> None:
        self.connections = 0
        self.handlers: list[asyncio.Task[None]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.handlers.append(task)
        refuses = self.connections == 1
        while command := await self._command(reader):
            if refuses and command == b"HSET":
                writer.write(b"-OOM command not allowed\r\n")
                break
            writer.write(REPLIES.get(command, b"+QUEUED\r\n"))
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async def _command(self, reader: asyncio.StreamReader) -> bytes:
        header = await reader.readline()
        parts = []
        for _ in range(int(header[1:] or 0)):
            length = int((await reader.readline())[1:])
            parts.append((await reader.readexactly(length + 2))[:-2])
        return parts[0] if parts else b""


@asynccontextmanager
async def queue_on(server: FakeServer) -> AsyncIterator[DurableQueue]:
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        url = SecretStr(f"redis://127.0.0.1:{port}/0?protocol=2")
        queue = DurableQueue(RedisSettings(redis_url=url, ack_timeout_ms=5000))
        yield queue
        await queue.close()
        await asyncio.gather(*server.handlers)


def test_after_a_refused_write_the_next_one_has_a_connection_of_its_own() -> None:
    async def scenario() -> int:
        server = FakeServer()
        async with queue_on(server) as queue:
            with pytest.raises(QueueUnavailable, match="command not allowed"):
                await queue.write([NewJob(CDRS, LOAD_CDRS, ([],), "load 0")])
            await queue.write([NewJob(CDRS, LOAD_CDRS, ([],), "load 0")])
        return server.connections

    assert asyncio.run(scenario()) == 2
