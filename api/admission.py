"""Bounds what is in flight, so that a receiver offered more than it can take neither dies nor grows, and answers all."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from common.errors import TooBusy

MAX_REQUESTS = 2048
# Counted from the first byte read until the answer, as long as it is kept: what waits for Redis or the disk is in it.
MAX_BYTES = 128 * 1024 * 1024
DROP_SECONDS = 30.0


class Admission:
    """Counts requests and bytes in flight, over all senders."""

    def __init__(self, max_requests: int = MAX_REQUESTS, max_bytes: int = MAX_BYTES) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0

    def request(self, receive: Any) -> Admitted:
        """Return the admission of one request, whose messages `receive` gives; to be used as a context."""
        return Admitted(self, receive)

    def enter(self) -> None:
        """Count a request; raises TooBusy."""
        if self.requests >= self._max_requests:
            raise TooBusy(f"{self.requests} requests are in flight already")
        self.requests += 1

    def has_room_for(self, size: int) -> bool:
        """Tell whether a whole request of so many bytes can be admitted beside all others."""
        return self.requests < self._max_requests and self.bytes + size <= self._max_bytes

    def admit(self, size: int) -> None:
        """Count a whole request for which there is room, until it leaves."""
        self.requests += 1
        self.bytes += size

    def leave(self, size: int) -> None:
        """Count a request no more that was admitted."""
        self.requests -= 1
        self.bytes -= size

    def take(self, size: int, own: int) -> None:
        """Count bytes of a request that has `own` already; raises TooBusy.

        A request that is alone is taken whatever its size: that is bounded elsewhere.
        """
        if self.bytes > own and self.bytes + size > self._max_bytes:
            raise TooBusy(f"{self.bytes} bytes are in flight already")
        self.bytes += size


class Admitted:
    """One request in flight; calling it gives the request's next message."""

    def __init__(self, admission: Admission, receive: Any) -> None:
        self._admission = admission
        self._receive = receive
        self._bytes = 0
        self._more = True
        self._keeps = True

    def __enter__(self) -> Self:
        self._admission.enter()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _traceback: TracebackType | None) -> None:
        self._admission.leave(self._bytes)

    async def __call__(self) -> Any:
        """Receive the next message; raises TooBusy when its bytes are too many for now."""
        message = await self._next()
        if self._keeps:
            self.take(len(message.get("body", b"")))
        return message

    def take(self, size: int) -> None:
        """Count bytes that the request holds besides those received; raises TooBusy."""
        self._admission.take(size, self._bytes)
        self._bytes += size

    def let_go(self) -> None:
        """Give back what was counted and count no more: nothing of the body is kept, and what comes yet is dropped."""
        self._admission.bytes -= self._bytes
        self._bytes, self._keeps = 0, False

    async def drop_rest(self, limit: int) -> None:
        """Read on and drop the rest of a refused body, `limit` bytes at most and while it comes.

        A sender that is cut off while it sends does not read the answer.
        """
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DROP_SECONDS):
                while self._more and size <= limit:
                    size += len((await self._next()).get("body", b""))

    async def _next(self) -> Any:
        message = await self._receive()
        self._more = message.get("more_body", False)
        return message
