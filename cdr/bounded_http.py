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
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from api.acknowledge import Response
from api.app import Receiver

# From the connection, or from the first byte after an answer; the body has a deadline of its own in api/guards.py.
HEAD_SECONDS = 20.0
# The careful protocol has the same bound. What came in one piece with the first byte of a head is not counted.
MAX_HEAD_BYTES = 64 * 1024
# Takes in place of a list what comes after the head, and keeps nothing: the trailers of a chunked body have no end.
_NO_MORE_HEADERS: Any = deque(maxlen=0)


class _HeadDeadline:
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


class CarefulHTTP(H11Protocol, _HeadDeadline):
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


class BoundedHTTP(HttpToolsProtocol, _HeadDeadline):
    """The protocol in C, within the same bounds."""

    _head_bytes = 0
    _begins_here = False
    # What the careful protocol is to read, once all that came before it is answered.
    _passed_on: bytes | None = None
    # The body, as far as it has come, of a request that may be taken as a whole.
    _pieces: list[bytes] | None = None

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
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Count a head anew."""
        super().on_message_begin()
        self._head_bytes, self._begins_here = 0, True

    def on_headers_complete(self) -> None:
        """Begin to answer, unless another protocol is offered."""
        if self.parser.should_upgrade():
            return
        if self._may_be_usual():
            self._pieces = []
        else:
            super().on_headers_complete()
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
        """Go on with the next request, be it one that was passed on."""
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
        if self._take is None or not self._take(self.url, self.scope["headers"], body, answer):
            return False
        self.cycle = answer  # type: ignore[assignment]
        return True

    def _begin_task(self, pieces: list[bytes]) -> None:
        """Have the request answered as uvicorn does, by a task that converses with the application."""
        self._pieces = None
        super().on_headers_complete()
        for piece in pieces:
            super().on_body(piece)

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
        protocol.on_response_complete()
