"""A receiver of a few lines: it answers as the provider's contract says, or misbehaves as a test asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import NamedTuple

XMLRPC_ANSWER = (
    '<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>err</name><value><int>{err}</int>'
    "</value></member><member><name>errdesc</name><value><string>{errdesc}</string></value></member></struct></value>"
    "</param></params></methodResponse>"
)
JSON_ANSWER = '{{"err": "{err}", "errdesc": "{errdesc}"}}'
FORM_ANSWER = "err={err}&errdesc={errdesc}"


class Request(NamedTuple):
    """What came."""

    path: str
    content_type: str
    body: bytes


class Reply(NamedTuple):
    """What goes back, and after how many seconds."""

    status: int = 200
    err: int = 0
    errdesc: str = "OK"
    delay_seconds: float = 0.0
    text: str | None = None


class FakeReceiver(ThreadingHTTPServer):
    """Keeps every request; `decide` gives the reply to the request with a number, counted from 0."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, decide: Callable[[int, Request], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.decide = decide
        self.requests: list[Request] = []
        self.connections = 0
        self.lock = Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/cdr/a-secret-of-a-test"


@contextmanager
def fake_receiver(
    decide: Callable[[int, Request], Reply] = lambda _number, _request: Reply(),
) -> Iterator[FakeReceiver]:
    server = FakeReceiver(decide)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body go out as two packets, which Nagle's algorithm would hold apart for 40 ms.
    disable_nagle_algorithm = True
    server: FakeReceiver

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = Request(self.path, self.headers["Content-Type"], body)
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append(request)
        self._reply(request, self.server.decide(number, request))

    def _reply(self, request: Request, reply: Reply) -> None:
        time.sleep(reply.delay_seconds)
        shape = {b"<": XMLRPC_ANSWER, b"{": JSON_ANSWER, b"[": JSON_ANSWER}.get(request.body[:1], FORM_ANSWER)
        text = shape.format(err=reply.err, errdesc=reply.errdesc) if reply.text is None else reply.text
        try:
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())
        except OSError:
            # The sender has not waited.
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass
