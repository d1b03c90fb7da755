"""uvicorn's HTTP/1.1 within bounds: the head of a request has a deadline and a size, and no body is given away.

The fast protocol has its parser in C. It bounds neither headers nor their number, and drops the body of a request that offers
another protocol: that request is passed on to the careful protocol, which takes it as if nothing had been offered.

A usual post that has come whole is given to the receiver at once, and answered without a task and an ASGI conversation, which
would cost more than taking the CDR does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from api.acknowledge import Response
from api.app import Receiver
from cdr.careful_http import CarefulHTTP
from cdr.connection_deadlines import ConnectionDeadlines

# The careful protocol has the same bound. What came in one piece with the first byte of a head is not counted.
MAX_HEAD_BYTES = 64 * 1024
# Takes in place of a list what comes after the head, and keeps nothing: the trailers of a chunked body have no end.
_NO_MORE_HEADERS: Any = deque(maxlen=0)


class BoundedHTTP(HttpToolsProtocol, ConnectionDeadlines):
    """The protocol in C, within the same bounds."""

    _head_bytes = 0
    _begins_here = False
    # What the careful protocol is to read, once all that came before it is answered.
    _passed_on: bytes | None = None
    _sent_headers: list[tuple[bytes, bytes]]
    # The body, as far as it has come, of a request that may be taken as a whole.
    _pieces: list[bytes] | None = None
    # Since when a connection on which posts were taken as a whole is idle, on the loop's clock; None: it is not.
    _idle_since: float | None = None
    # Looks whether it has been idle for too long. uvicorn sets and cancels a timer for each request, which costs as much as
    # encoding a CDR does; this one stays.
    _idle_timer: asyncio.TimerHandle | None = None

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._take = self.app.usual_post.take if isinstance(self.app, Receiver) else None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self.wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take what comes, and wait on if it does not complete a head."""
        if self._passed_on is not None:
            self._passed_on += data
            self.flow.pause_reading()
            return
        self._unset_keepalive_if_required()
        self._idle_since = None
        try:
            self.parser.feed_data(data)
            if self._pieces is not None:
                self._begin_task(self._pieces)
        except httptools.HttpParserUpgrade as offer:
            self._pass_on(data[offer.args[0] :])
            return
        except (httptools.HttpParserError, UnicodeDecodeError):
            self._refuse()
            return
        if self.headers is not _NO_MORE_HEADERS and not self._is_short_enough(len(data)):
            self._refuse()
            return
        self.wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self.stop_waiting()
        self._stop_idling()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Count a head anew; what uvicorn begins here has to be made for those requests only that take its way."""
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._head_bytes, self._begins_here = 0, True

    def on_headers_complete(self) -> None:
        """Begin to answer, unless another protocol is offered."""
        if self.parser.should_upgrade():
            return
        self._sent_headers = self.headers
        if self._may_be_usual():
            self._pieces = []
        else:
            self._begin_conversation()
        self.headers = _NO_MORE_HEADERS

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        if self._pieces is None:
            super().on_body(body)
        else:
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        """Note the end of a body, unless it is another protocol's turn; the body may now be taken."""
        if self.parser.should_upgrade():
            return
        if self._pieces is not None and not self._is_taken(self._pieces):
            self._begin_task(self._pieces)
        if self._pieces is None:
            super().on_message_complete()
        self._pieces = None

    def on_response_complete(self) -> None:
        """Go on with the next request, be it one that was passed on, or wait for one."""
        self.timeout_keep_alive = self.idle_seconds
        super().on_response_complete()
        if self._passed_on is not None and not self.is_answering and not self.transport.is_closing():
            self._change_protocol(self._passed_on)

    def _may_be_usual(self) -> bool:
        """Tell whether a request may be answered out of turn of uvicorn's own, which are none now."""
        return (
            self._take is not None
            and not self.is_answering
            and not self.flow.write_paused
            and not self.expect_100_continue
            and self.parser.get_method() == b"POST"
        )

    def _is_taken(self, pieces: list[bytes]) -> bool:
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        answer = _OneAnswer(self, keep_alive=keep_alive)
        if self._take is None or not self._take(self.url, self._sent_headers, body, answer):
            return False
        self.cycle = answer  # type: ignore[assignment]
        return True

    def _begin_task(self, pieces: list[bytes]) -> None:
        """Have the request answered as uvicorn does, by a task that converses with the application."""
        self._pieces = None
        self._begin_conversation()
        for piece in pieces:
            super().on_body(piece)

    def _begin_conversation(self) -> None:
        url, is_expecting = self.url, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, is_expecting
        self.headers = self.scope["headers"] = self._sent_headers
        super().on_headers_complete()
        self.headers = _NO_MORE_HEADERS

    def on_usual_answer(self) -> None:
        """Go on with the next request; without one the connection is closed once it has been idle for too long."""
        if self.pipeline or self._passed_on is not None or self.transport.is_closing():
            self.on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.idle_seconds, self._close_if_idle)

    def _close_if_idle(self) -> None:
        self._idle_timer = None
        if self._idle_since is None:
            return
        left = self._idle_since + self.idle_seconds - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._close_if_idle)
        else:
            self.timeout_keep_alive_handler()

    def _stop_idling(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _is_short_enough(self, size: int) -> bool:
        # Where in a piece a head begins is not told, and before it may stand a body.
        self._head_bytes += 0 if self._begins_here else size
        self._begins_here = False
        return self._head_bytes <= MAX_HEAD_BYTES

    def _refuse(self) -> None:
        """Answer what is no HTTP; what came whole before it has its own answer first, and none follows."""
        if self.is_answering and not self.cycle.more_body:
            self.cycle.keep_alive = False
            self.flow.pause_reading()
        else:
            self.send_400_response("Invalid HTTP request received.")

    def _pass_on(self, rest: bytes) -> None:
        request = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        head = b"".join(b"%b: %b\r\n" % header for header in self.headers)
        self._passed_on = request + head + b"\r\n" + rest
        if self.is_answering:
            self.flow.pause_reading()
        else:
            self._change_protocol(self._passed_on)

    def _change_protocol(self, received: bytes) -> None:
        self.stop_waiting()
        self._stop_idling()
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        careful = CarefulHTTP(config=self.config, server_state=self.server_state, app_state=self.app_state)
        careful.connection_made(self.transport)
        self.transport.set_protocol(careful)
        self.flow.resume_reading()
        careful.data_received(received)


class _NoEvent:
    """Stands where nobody waits for an event."""

    def set(self) -> None:
        """Wake nobody."""


class _OneAnswer:
    """Writes the answer to a request that was taken as a whole; to uvicorn's protocol it is a cycle like its own."""

    message_event = _NoEvent()
    more_body = False

    def __init__(self, protocol: BoundedHTTP, *, keep_alive: bool) -> None:
        self._protocol = protocol
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False

    def __call__(self, response: Response) -> None:
        """Write the answer and let the next request have its turn; nothing is left to do when the sender has gone."""
        self.response_complete = True
        protocol = self._protocol
        if self.disconnected or protocol.transport.is_closing():
            return
        lines = [STATUS_LINE[response.status]]
        for name, value in (*protocol.server_state.default_headers, *response.headers):
            lines += (name, b": ", value, b"\r\n")
            self.keep_alive = self.keep_alive and name != b"connection"
        lines += (b"\r\n", response.body)
        if not self.keep_alive and b"connection" not in lines:
            lines.insert(1, b"connection: close\r\n")
        protocol.transport.write(b"".join(lines))
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_usual_answer()
