"""How long a connection to the receiver is kept: one on which a head begins, and one on which nothing comes."""

from __future__ import annotations

import asyncio
from typing import Any

# From the connection, or from the first byte after an answer; the body has a deadline of its own in api/guards.py.
HEAD_SECONDS = 20.0
# A sender whose next post is on its way while we close gets no answer. So a proxy in front of us has to be the one that
# closes. Those in use give an idle connection up after 60 s (nginx, Amazon's load balancers), 90 s (Traefik), 2 minutes
# (Caddy) or 10 minutes (Google's).
IDLE_SECONDS = 620
# A sender that opens a connection for each post and closes none must not use up what the system allows.
IDLE_SECONDS_OF_MANY = 5
MANY_CONNECTIONS = 1000


class ConnectionDeadlines:
    """For a protocol of uvicorn: when it closes a connection."""

    loop: asyncio.AbstractEventLoop
    transport: Any
    connections: set[Any]
    cycle: Any
    _deadline: asyncio.TimerHandle | None = None

    @property
    def is_answering(self) -> bool:
        """Whether a request has come that is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def idle_seconds(self) -> int:
        """How long the connection is kept after an answer when nothing more comes."""
        return IDLE_SECONDS if len(self.connections) <= MANY_CONNECTIONS else IDLE_SECONDS_OF_MANY

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
            self.transport.close()
