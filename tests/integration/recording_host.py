"""A host of recordings on the loopback, and the rows that tell the product of them."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from psycopg import sql
from psycopg.rows import dict_row

from common.postgres import connect
from worker.recordings.fetch_batch import MAX_SIDE_BY_SIDE

SIGNATURE = "X-Amz-Signature=secret"


def wav() -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(8000)
        audio.writeframes(bytes(16_000))
    return content.getvalue()


class Page(BaseHTTPRequestHandler):
    """One request to the host, with the answers that the tests' pages are made of."""

    server: Host

    def do_GET(self) -> None:
        self.server.pages[self.path.split("?")[0]](self)

    def log_message(self, *_arguments: object) -> None:
        """Keep the output of the tests clean."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


class Host(ThreadingHTTPServer):
    """A host on the loopback whose pages a test chooses, by path."""

    daemon_threads = True
    request_queue_size = MAX_SIDE_BY_SIDE
    pages: dict[str, Callable[[Page], None]]

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def url(self, path: str) -> str:
        return f"http://{self.name}{path}?{SIGNATURE}"

    def handle_error(self, *_arguments: object) -> None:
        """A client that hangs up is what half of the tests are about."""


@contextmanager
def serving() -> Iterator[Host]:
    with Host(("127.0.0.1", 0), Page) as server:
        server.pages = {"/audio": lambda page: page.answer(200, wav())}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def host() -> Iterator[Host]:
    with serving() as server:
        yield server


class Rows:
    """The table of recordings, as the tests read and write it."""

    def __init__(self, url: str) -> None:
        self._connection = connect(url, "test")

    def add(self, source_url: str, *, call_id: str = "call", attempts: int = 0, account: str = "acme") -> int:
        row = self._connection.execute(
            "INSERT INTO cdr.recordings"
            " (identity, provider_time, account, call_id, call_type, started_at, source_url, source_key, attempts)"
            " VALUES (%s, '2026-11-23 14:00', %s, %s, 'Queue', '2026-11-23 12:00Z', %s, %s, %s)"
            " RETURNING recording_id",
            (os.urandom(32), account, call_id, source_url, hashlib.sha256(source_url.encode()).digest(), attempts),
        ).fetchone()
        assert row is not None
        return int(row[0])

    def get(self, recording_id: int) -> dict[str, Any]:
        with self._connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute("SELECT * FROM cdr.recordings WHERE recording_id = %s", (recording_id,)).fetchone()
        assert row is not None
        return row

    def touch(self, recording_id: int, next_attempt_at: datetime) -> None:
        self.set(recording_id, "next_attempt_at", next_attempt_at)

    def set(self, recording_id: int, column: str, value: object) -> None:
        update = sql.SQL("UPDATE cdr.recordings SET {} = %s WHERE recording_id = %s").format(sql.Identifier(column))
        self._connection.execute(update, (value, recording_id))

    def add_cdr(self, recording_id: int, *, talk_seconds: int) -> None:
        """Add the CDR that a recording belongs to."""
        self._connection.execute(
            "INSERT INTO cdr.cdrs (identity, provider_time, account, call_id, call_key, outcome, started_at, time_rule,"
            " talk_seconds, payload, format, delivery_id, delivery_place, first_received_at, last_received_at)"
            " SELECT identity, provider_time, account, call_id, gen_random_uuid(), 'answered', started_at, 'local',"
            " %s, '{}', 'json', gen_random_uuid(), 0, now(), now() FROM cdr.recordings WHERE recording_id = %s",
            (talk_seconds, recording_id),
        )

    def make_due(self, recording_id: int) -> None:
        self.touch(recording_id, datetime.now(UTC) - timedelta(seconds=1))

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    table = Rows(database_url)
    yield table
    table.close()
