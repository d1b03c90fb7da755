"""uvicorn's HTTP/1.1 in Python, for the requests that the one in C does not take as they are; a head has a deadline in both."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# From the connection, or from the first byte after an answer; the body has a deadline of its own in api/guards.py.
HEAD_SECONDS = 20.0


class HeadDeadline:
    """Closes a connection on which no whole head has come in time; an idle one uvicorn closes sooner."""

    loop: asyncio.AbstractEventLoop
    cycle: Any
    _deadline: asyncio.TimerHandle | None = None

    @property
    def is_answering(self) -> bool:
        """Whether a request has come that is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def wait_for_head(self) -> None:
        """Wait for a head from now on, unless a request is being answered."""
        if self.is_answering:
            self.stop_waiting()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def stop_waiting(self) -> None:
        """Wait no longer."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self.is_answering:
            self.timeout_keep_alive_handler()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, as uvicorn does with one that is idle."""
        raise NotImplementedError


class CarefulHTTP(H11Protocol, HeadDeadline):
    """The protocol in Python, which bounds a head itself and reads on behind an offer to change the protocol."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self.wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take what comes, and wait on if it does not complete a head."""
        super().data_received(data)
        self.wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self.stop_waiting()
        super().connection_lost(exc)
