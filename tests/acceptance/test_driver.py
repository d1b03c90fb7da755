"""The provider's part: what counts as an acknowledgement, and that what was not taken is sent once more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from oracle.driver import Driver
from oracle.ledger import Ledger, Post
from oracle.traffic import LONGEST_ARRAY, Traffic

POST = Post("default", b"{}", "application/json", ())


class Server(ThreadingHTTPServer):
    # All connections of a driver may come at once.
    request_queue_size = 128


@contextmanager
def receiver(*answers: tuple[int, bytes], pause: float = 0.0) -> Iterator[str]:
    """Answer each request with the next status and body; status 0 closes the connection, 1 does so in mid-answer."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = left.pop(0)
            time.sleep(pause)
            self.close_connection = True
            if status:
                self.send_response(max(status, 200))
                self.send_header("Content-Length", str(len(body) + (status == 1)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/cdr/secret"
        finally:
            server.shutdown()
            thread.join()


def outcomes(*answers: tuple[int, bytes]) -> list[str]:
    ledger = Ledger()
    with receiver(*answers) as url:
        driver = Driver({"default": url}, ledger)
        driver.deliver(POST)
        driver.close()
    return [attempt.outcome for attempt in ledger.attempts]


@pytest.mark.parametrize(
    "body",
    [
        b'{"err":"0","errdesc":"OK"}',
        b"err=0&errdesc=OK",
        (
            b"<methodResponse><params><param><value><struct><member><name>err</name><value><int>0</int></value></member>"
            b"</struct></value></param></params></methodResponse>"
        ),
    ],
)
def test_err_0_under_http_200_is_an_acknowledgement_in_every_format(body: bytes) -> None:
    assert outcomes((200, body)) == ["acked"]


@pytest.mark.parametrize("body", [b'{"err":"1"}', b'{"err":"2"}', b"err=2", b"no answer of a receiver"])
def test_another_err_is_none_and_is_not_sent_again(body: bytes) -> None:
    assert outcomes((200, body)) == ["kept"]


@pytest.mark.parametrize("status", [503, 404])
def test_what_is_refused_is_sent_once_more(status: int) -> None:
    assert outcomes((status, b'{"err":"0"}'), (status, b"")) == ["refused", "refused"]


@pytest.mark.parametrize("status", [0, 1])
def test_what_is_not_answered_to_the_end_is_sent_once_more(status: int) -> None:
    assert outcomes((status, b'{"err":"0"}'), (200, b'{"err":"0"}')) == ["unanswered", "acked"]


def test_posts_are_sent_no_faster_than_asked_for_and_none_is_left_unfinished() -> None:
    ledger = Ledger()
    traffic = Traffic(1, "-x", "http://127.0.0.1:1")
    began = time.monotonic()
    with receiver(*[(200, b'{"err":"0"}')] * 1000, pause=0.3) as url:
        driver = Driver(dict.fromkeys(("default", "north"), url), ledger)
        with driver.posting(traffic, cdrs_a_second=50):
            while ledger.count("acked") < 80:
                time.sleep(0.01)
        sent = ledger.count("acked")
        ended = time.monotonic()
        # What was not finished would be by then.
        time.sleep(1)
        driver.close()

    # The last post may be an array whose time the next one would wait for.
    assert ended - began > (sent - LONGEST_ARRAY * 3) / 50
    assert ledger.count("acked") == sent
