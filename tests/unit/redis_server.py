"""A server that speaks enough of Redis's protocol to misbehave in ways in which a real one cannot be made to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from common.settings import RedisSettings

REPLIES = {
    b"MULTI": b"+OK\r\n",
    b"EXEC": b"*4\r\n:1\r\n:0\r\n:1\r\n:1\r\n",
    b"WAITAOF": b"*2\r\n:1\r\n:0\r\n",
    b"CLIENT": b"+OK\r\n",
    b"SET": b"+OK\r\n",
    b"PING": b"+PONG\r\n",
}


class FakeServer:
    """Answers each command from `replies`, else that it is queued; what is in `fatal` ends the answers for good.

    `fatal` holds for the first connection only.
    """

    def __init__(self, replies: dict[bytes, bytes] | None = None, fatal: dict[bytes, bytes] | None = None) -> None:
        self.replies = REPLIES | (replies or {})
        self.fatal = fatal or {}
        self.connections = 0
        # Which connection each command came by.
        self.received: list[tuple[int, bytes]] = []
        # What each WAITAOF asked for.
        self.waits: list[tuple[bytes, ...]] = []
        self.handlers: list[asyncio.Task[None]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        task = asyncio.current_task()
        assert task is not None
        self.handlers.append(task)
        fatal = self.fatal if self.connections == 1 else {}
        while command := await self._command(reader):
            self.received.append((number, command))
            if command in fatal:
                writer.write(fatal[command])
                break
            writer.write(self.replies.get(command, b"+QUEUED\r\n"))
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async def _command(self, reader: asyncio.StreamReader) -> bytes:
        header = await reader.readline()
        parts = []
        for _ in range(int(header[1:] or 0)):
            length = int((await reader.readline())[1:])
            parts.append((await reader.readexactly(length + 2))[:-2])
        if parts[:1] == [b"WAITAOF"]:
            self.waits.append(tuple(parts[1:]))
        return parts[0] if parts else b""


@asynccontextmanager
async def serving(server: FakeServer) -> AsyncIterator[RedisSettings]:
    """Run the server on a free port of this machine, and wait until its clients have gone."""
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        yield RedisSettings(redis_url=SecretStr(f"redis://127.0.0.1:{port}/0?protocol=2"), ack_timeout_ms=5000)
        await asyncio.gather(*server.handlers)
