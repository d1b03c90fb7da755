"""uvicorn's HTTP/1.1 in Python, for the requests that the one in C does not take as they are."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from cdr.connection_deadlines import ConnectionDeadlines


class CarefulHTTP(H11Protocol, ConnectionDeadlines):
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

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one."""
        self.timeout_keep_alive = self.idle_seconds
        super().on_response_complete()
