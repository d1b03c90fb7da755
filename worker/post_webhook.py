"""Posts a CDR, signed, to the address of the settings: the ready hook `worker.hooks:webhook`. docs/hooks.md tells receivers how to check it.

The address is the administrator's own choice, so it may be a private one; it is a secret, and no error names more of it than
the host.
"""

from __future__ import annotations

import hmac
import logging
import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.client import HTTPException
from typing import NamedTuple

from urllib3 import HTTPResponse, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import parse_url
from urllib3.util.connection import create_connection

from common.environment import load
from common.errors import ConfigurationError
from common.settings import HookSettings
from worker.deadline import shut_down_at
from worker.loaded_cdr import LoadedCdr, TryLater

CONNECT_SECONDS = 10.0
# For each wait on the network, and for all of a post: TLS, the request and its answer.
READ_SECONDS = 30.0
TOTAL_SECONDS = 60.0
MOST_ANSWER_BYTES = 65_536
_CHUNK_BYTES = 16_384
_ASKS_TO_WAIT = frozenset({429, 503})

# A malformed header makes urllib3 log a warning with the whole address.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)


class WebhookFailed(Exception):
    """The receiver did not say that it has the CDR."""


class _Answer(NamedTuple):
    status: int
    retry_after_seconds: float | None


class Receiver:
    """The receiver at an address, over one connection that is kept between posts; for one thread."""

    def __init__(self, url: str) -> None:
        self._url = parse_url(url)
        self._connection: HTTPConnection | None = None

    def post(self, body: bytes, headers: dict[str, str]) -> None:
        """Post a body, following no redirect and using no proxy.

        Raises TryLater when the receiver asks to wait, and WebhookFailed for anything else than a 2xx.
        """
        try:
            answer = self._exchange(body, headers)
        except (HTTPError, HTTPException, OSError) as error:
            self.close()
            # The cause is left out because its text may hold the address.
            raise WebhookFailed(f"{self._url.host} broke off: {type(error).__name__}") from None
        if 200 <= answer.status < 300:
            return
        told = f"{self._url.host} answers HTTP {answer.status}"
        if answer.status in _ASKS_TO_WAIT and answer.retry_after_seconds is not None:
            raise TryLater(answer.retry_after_seconds, told)
        raise WebhookFailed(told)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, body: bytes, headers: dict[str, str]) -> _Answer:
        ends_at = time.monotonic() + TOTAL_SECONDS
        connection = self._connected(ends_at)
        with _cut_off(connection.sock, ends_at):
            connection.request(
                "POST", self._url.request_uri, body=body, headers=headers, preload_content=False, decode_content=False
            )
            response = connection.getresponse()
            answer = _Answer(response.status, _retry_after(response))
            if not _read_to_its_end(response):
                self.close()
        return answer

    def _connected(self, ends_at: float) -> HTTPConnection:
        if self._connection is not None and self._connection.is_connected:
            return self._connection
        self.close()
        kind = HTTPSConnection if self._url.scheme == "https" else HTTPConnection
        connection = kind((self._url.host or "").strip("[]"), self._url.port, timeout=READ_SECONDS)
        # It is handed a socket, because it would let nobody reach the one that it opens before TLS stands.
        connection.sock = _dial(connection, ends_at)
        connection.sock.settimeout(READ_SECONDS)
        self._connection = connection
        return connection


def _dial(connection: HTTPConnection, ends_at: float) -> socket.socket:
    """Connect, with TLS where the connection is one of HTTPS; cut off at a time of the monotonic clock."""
    host, options = connection.host, HTTPConnection.default_socket_options
    sock = create_connection((host, connection.port), CONNECT_SECONDS, socket_options=options)
    if not isinstance(connection, HTTPSConnection):
        return sock
    try:
        with _cut_off(sock, ends_at):
            return _tls().wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise


def post_event(cdr: LoadedCdr) -> None:
    """Post what happened to a CDR to the address of the settings; raises ConfigurationError without one, else as `post`."""
    settings = _settings()
    if settings.webhook_url is None or settings.webhook_secret is None:
        raise ConfigurationError("CDR_WEBHOOK_URL and CDR_WEBHOOK_SECRET must be set to post to a webhook")
    body = event_body(cdr)
    headers = signed_headers(body, cdr.event_id, settings.webhook_secret.get_secret_value(), int(time.time()))
    _receiver(settings.webhook_url.get_secret_value()).post(body, headers)


def event_body(cdr: LoadedCdr) -> bytes:
    """Return what is posted: a JSON object of `event`, `event_id` and `cdr`."""
    event = b"cdr.updated" if cdr.is_update else b"cdr.loaded"
    return b'{"event":"%b","event_id":"%b","cdr":%b}' % (event, cdr.event_id.encode(), cdr.as_json())


def signed_headers(body: bytes, event_id: str, secret: str, timestamp: int) -> dict[str, str]:
    """Return the headers of a post; the signature is over the time in seconds, a dot, and the body."""
    signature = hmac.new(secret.encode(), b"%d.%b" % (timestamp, body), "sha256").hexdigest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "cdr-pipeline",
        "X-CDR-Event-Id": event_id,
        "X-CDR-Timestamp": str(timestamp),
        "X-CDR-Signature": f"v1={signature}",
    }


@cache
def _settings() -> HookSettings:
    return load(HookSettings)


@cache
def _receiver(url: str) -> Receiver:
    return Receiver(url)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _retry_after(response: HTTPResponse) -> float | None:
    try:
        return Retry().get_retry_after(response)
    except (HTTPError, ValueError, OverflowError):
        return None


def _read_to_its_end(response: HTTPResponse) -> bool:
    """Read the answer's body, which says nothing to us; tell whether the connection can be used again after it."""
    received = 0
    with suppress(HTTPError, HTTPException, OSError):
        while received < MOST_ANSWER_BYTES:
            chunk = response.read1(_CHUNK_BYTES)
            if not chunk:
                return True
            received += len(chunk)
    return False


@contextmanager
def _cut_off(sock: socket.socket, ends_at: float) -> Iterator[None]:
    with socket.socket(fileno=os.dup(sock.fileno())) as twin, shut_down_at(twin, ends_at):
        yield
