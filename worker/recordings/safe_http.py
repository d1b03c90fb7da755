"""Fetches over HTTP from addresses that others chose: guarded, and bounded in time, pace and size."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from urllib.parse import urljoin

from urllib3 import HTTPResponse, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Url, parse_url

from common.errors import RecordingNotReady, RecordingRefused
from worker.recordings.address_guard import AddressGuard, shown
from worker.recordings.bounded_wire import Wire

_CHUNK_BYTES = 65_536
_DEFAULT_PORT = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"Accept": "audio/*, */*;q=0.1", "Accept-Encoding": "identity", "User-Agent": "cdr-pipeline"}

# A malformed header makes urllib3 log a warning with the whole URL, whose query may hold a signature.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class FetchLimits:
    """What one fetch, its redirects included, may cost.

    `connect_seconds` is for each address tried, `read_seconds` for each wait on the network, `head_seconds` for all that
    comes before the body. The rate is the average of the body so far, looked at once it has been coming for `read_seconds`.
    """

    max_bytes: int
    connect_seconds: float = 10
    read_seconds: float = 30
    head_seconds: float = 60
    total_seconds: float = 600
    min_bytes_per_second: float = 500
    max_redirects: int = 3


@dataclass(frozen=True)
class Response:
    """A final answer, and the host that gave it, with its port where that is none of the web's.

    `chunks` streams its body as sent; `retry_after_seconds` is how long the host asks to wait, if it does.

    `chunks` raises RecordingNotReady when the body breaks off or is too slow, RecordingRefused when it is too large.
    """

    host: str
    status: int
    retry_after_seconds: float | None
    chunks: Iterator[bytes]


@contextmanager
def open_checked(
    url: str, guard: AddressGuard, limits: FetchLimits, go_to: Callable[[str], None] = lambda _host: None
) -> Iterator[Response]:
    """GET `url`, following redirects, each checked like the first; no proxy and no credentials are used.

    Before a host is asked, be it by a redirect, `go_to` is told its name; it may wait, which costs the fetch none of its time,
    or raise, which ends the fetch.

    Raises RecordingRefused for an address that may not be fetched, RecordingNotReady for a host that does not answer.
    No message of either holds more of a URL than its host.
    """
    started = time.monotonic()
    for redirects in range(limits.max_redirects + 1):
        with ExitStack() as stack:
            with _telling_of_redirect(is_redirect=redirects > 0):
                target = checked(url, guard)
                asked_at = time.monotonic()
                go_to(host_of(target))
                started += time.monotonic() - asked_at
                answer, wire = stack.enter_context(_exchange(target, guard, limits, started))
            if not (answer.status in _REDIRECTS and "Location" in answer.headers):
                body = _body(answer, wire, target, limits, started)
                yield Response(host_of(target), answer.status, _retry_after(answer), body)
                return
            url = _joined(target.url, answer.headers["Location"])
    raise RecordingRefused(f"more than {limits.max_redirects} redirects")


def host_of(target: Url) -> str:
    """Name the host that an address leads to, with its port where that is none of the web's."""
    host = shown(target.host or "")
    return host if target.port in {None, *_DEFAULT_PORT.values()} else f"{host}:{target.port}"


def checked(url: str, guard: AddressGuard) -> Url:
    """Read an address and check its host; raises RecordingRefused.

    What is checked here is what is asked for: the same host, the same path.
    """
    target = _parsed(url)
    guard.check_host(_bare_host(target), target.path or "/")
    return target


@contextmanager
def _telling_of_redirect(*, is_redirect: bool) -> Iterator[None]:
    """Say of what is refused where a redirect leads that it is not the address that the CDR named."""
    try:
        yield
    except RecordingRefused as refused:
        if not is_redirect:
            raise
        raise RecordingRefused(f"after a redirect: {refused}") from refused


def _bare_host(target: Url) -> str:
    return (target.host or "").strip("[]")


def _parsed(url: str) -> Url:
    try:
        target = parse_url(url)
    except LocationParseError:
        # The cause is left out here and below because its text may hold the URL.
        raise RecordingRefused("the address cannot be read") from None
    if target.scheme not in _DEFAULT_PORT:
        raise RecordingRefused("the address is not http or https")
    if not target.host or target.auth:
        raise RecordingRefused("the address has no host, or holds credentials")
    return target


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise RecordingRefused("after a redirect: the address cannot be read") from None


@contextmanager
def _exchange(
    target: Url, guard: AddressGuard, limits: FetchLimits, started: float
) -> Iterator[tuple[HTTPResponse, Wire]]:
    with ExitStack() as stack:
        with _translated(target):
            connection, wire = stack.enter_context(_connected(target, guard, limits, started))
            ends_at = time.monotonic() + limits.head_seconds
            with wire.cut_off(ends_at):
                connection.request(
                    "GET", target.request_uri, headers=_HEADERS, preload_content=False, decode_content=False
                )
                answer = connection.getresponse()
            stack.callback(answer.close)
        # A head that is cut off reads like one that is complete: the clock tells them apart.
        if time.monotonic() >= ends_at:
            raise RecordingNotReady(f"{shown(target.host or '')} did not answer within {limits.head_seconds:g} s")
        yield answer, wire


@contextmanager
def _connected(
    target: Url, guard: AddressGuard, limits: FetchLimits, started: float
) -> Iterator[tuple[HTTPConnection, Wire]]:
    secure = target.scheme == "https"
    host = _bare_host(target)
    port = _DEFAULT_PORT[target.scheme or ""] if target.port is None else target.port
    with Wire(guard.connect(host, port, limits.connect_seconds)) as wire, wire.cut_off(started + limits.total_seconds):
        connection = (HTTPSConnection if secure else HTTPConnection)(host, port, timeout=limits.read_seconds)
        # It is handed a socket and may open none itself: that would look the name up again, unchecked.
        connection.auto_open = 0
        if secure:
            with wire.cut_off(time.monotonic() + limits.head_seconds):
                wire.sock = _tls().wrap_socket(wire.sock, server_hostname=host.rstrip("."))
        connection.sock = wire
        try:
            yield connection, wire
        finally:
            connection.close()


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


@contextmanager
def _translated(target: Url) -> Iterator[None]:
    try:
        yield
    except (HTTPError, HTTPException, OSError) as error:
        raise RecordingNotReady(f"{shown(target.host or '')} broke off: {type(error).__name__}") from None


def _retry_after(answer: HTTPResponse) -> float | None:
    try:
        return Retry().get_retry_after(answer)
    except (HTTPError, ValueError, OverflowError):
        return None


def _body(answer: HTTPResponse, wire: Wire, target: Url, limits: FetchLimits, started: float) -> Iterator[bytes]:
    received, body_started = 0, time.monotonic()
    while chunk := _read(answer, target):
        received += len(chunk)
        wire.grant(len(chunk))
        if received > limits.max_bytes:
            raise RecordingRefused(f"larger than {limits.max_bytes} bytes")
        _check_pace(received, limits, time.monotonic() - body_started)
        yield chunk
    # A body without a length ends like one that was cut off at the deadline: the clock tells them apart.
    if time.monotonic() - started >= limits.total_seconds:
        raise RecordingNotReady(f"not done within {limits.total_seconds:g} s")


def _read(answer: HTTPResponse, target: Url) -> bytes:
    with _translated(target):
        return answer.read1(_CHUNK_BYTES)


def _check_pace(received: int, limits: FetchLimits, seconds: float) -> None:
    if seconds > limits.read_seconds and received < limits.min_bytes_per_second * seconds:
        raise RecordingNotReady(f"slower than {limits.min_bytes_per_second:g} bytes a second")
