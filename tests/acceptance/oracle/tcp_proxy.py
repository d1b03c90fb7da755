"""TCP proxies that misbehave on demand: they delay, cut, swallow, trickle, and end an answer in its middle."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Literal

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536
TRICKLE_BYTES = 512
TRICKLE_SECONDS = 0.01
# Of so many answers, or requests, one is cut while the proxy cuts in the middle.
CUT_ONE_IN = 4

Direction = Literal["request", "answer"]


@dataclass(frozen=True)
class Manner:
    """How a proxy treats what passes; the default passes it on at once.

    `delay_seconds` holds each chunk back. `hold` passes nothing until the manner changes. `trickle` passes a few hundred
    bytes at a time. `cut` ends a connection, now and then, in the middle of a request or of an answer.
    """

    delay_seconds: float = 0.0
    hold: bool = False
    trickle: bool = False
    cut: Direction | None = None


PASS = Manner()


class TcpProxy:
    """Forwards the connections to its `port` to another port of this machine, in the manner of the moment."""

    def __init__(self, loop: ProxyLoop, port: int, target_port: int, seed: int = 0) -> None:
        self.port = port
        self._target_port = target_port
        self._loop = loop
        self._manner = PASS
        self._changed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._rng = random.Random(seed)
        self._server: asyncio.Server = loop.run(asyncio.start_server(self._serve, HOST, port, backlog=512))

    def behave(self, manner: Manner) -> None:
        """Change the manner, for open connections too."""
        self._loop.run(self._behave(manner))

    def cut_all(self) -> None:
        """End every connection at once, as a firewall that restarts does."""
        self._loop.run(self._cut_all())

    async def close(self) -> None:
        """Stop listening and end every connection."""
        self._server.close()
        await self._cut_all()

    async def _behave(self, manner: Manner) -> None:
        self._manner = manner
        self._changed.set()
        self._changed = asyncio.Event()

    async def _cut_all(self) -> None:
        for writer in list(self._writers):
            _abort(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection(HOST, self._target_port)
        except OSError:
            self._writers.discard(writer)
            _abort(writer)
            return
        self._writers.add(back)
        tasks = [
            asyncio.ensure_future(self._pump(reader, writer, back, "request")),
            asyncio.ensure_future(self._pump(there, back, writer, "answer")),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end(tasks, writer, back)

    async def _end(self, tasks: list[asyncio.Task[None]], *writers: asyncio.StreamWriter) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            self._writers.discard(writer)
            writer.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        behind: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        """Pass on what is read; `behind` writes to the side that is read from."""
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                await self._wait()
                if self._manner.cut == direction and self._rng.randrange(CUT_ONE_IN) == 0:
                    await self._send(writer, chunk[: self._rng.randrange(len(chunk))])
                    _abort(writer)
                    _abort(behind)
                    return
                await self._send(writer, chunk)

    async def _wait(self) -> None:
        if self._manner.delay_seconds:
            await asyncio.sleep(self._manner.delay_seconds)
        while self._manner.hold:
            await self._changed.wait()

    async def _send(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        while self._manner.trickle and chunk:
            part, chunk = chunk[:TRICKLE_BYTES], chunk[TRICKLE_BYTES:]
            writer.write(part)
            await asyncio.sleep(TRICKLE_SECONDS)
        writer.write(chunk)
        await writer.drain()


class ProxyLoop:
    """An event loop in a thread of its own, for any number of proxies."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._proxies: list[TcpProxy] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine there and return what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def proxy(self, port: int, target_port: int, seed: int = 0) -> TcpProxy:
        """Start a proxy."""
        self._proxies.append(TcpProxy(self, port, target_port, seed))
        return self._proxies[-1]

    def close(self) -> None:
        """End all proxies, then the thread."""
        for proxy in self._proxies:
            self.run(proxy.close())
        self.run(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _finish(self) -> None:
        """Let the connections that were cut come to their ends."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


@contextlib.contextmanager
def proxies() -> Iterator[ProxyLoop]:
    """Run proxies for the length of a with-block."""
    loop = ProxyLoop()
    try:
        yield loop
    finally:
        loop.close()


def _abort(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset, so that the other side sees an error and no end of file."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    writer.transport.abort()
