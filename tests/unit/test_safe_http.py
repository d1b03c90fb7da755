"""The guard decides on every address, and a fetch connects to nothing else. No test here leaves the machine."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from common.errors import RecordingNotReady, RecordingRefused
from common.host_list import HostList
from worker.recordings import safe_http
from worker.recordings.address_guard import AddressGuard, is_public
from worker.recordings.safe_http import FetchLimits, open_checked

Found = tuple[Any, ...]

OPEN = HostList.parse("open")
LOOPBACK = ipaddress.ip_network("127.0.0.1/32")
LIMITS = FetchLimits(max_bytes=10_000, connect_seconds=1, read_seconds=1, total_seconds=5)


class FakeNetwork:
    """A resolver of one answer and a connector that notes where it is sent."""

    def __init__(self, *addresses: str, answering: bool = True) -> None:
        self.addresses = addresses
        self.answering = answering
        self.connected: list[tuple[str, int, float]] = []

    def resolve(self, _host: str, port: int, **_kind: object) -> list[Found]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]

    def connect(self, address: tuple[str, int], timeout: float) -> socket.socket:
        self.connected.append((*address, timeout))
        if not self.answering:
            raise ConnectionRefusedError
        return socket.socket()

    def guard(self, *allow: str) -> AddressGuard:
        return AddressGuard([ipaddress.ip_network(network) for network in allow], self.resolve, self.connect, OPEN)


@contextlib.contextmanager
def server(*answers: bytes | Iterable[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Serve raw bytes: each connection gets the next of `answers`; yields its port and what it was sent."""
    requests: list[bytes] = []

    def serve() -> None:
        for answer in answers:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    requests.append(connection.recv(65_536))
                    send(connection, answer)

    def send(connection: socket.socket, answer: bytes | Iterable[bytes]) -> None:
        for part in [answer] if isinstance(answer, bytes) else answer:
            connection.sendall(part)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], requests
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def fetch(url: str, limits: FetchLimits = LIMITS, guard: AddressGuard | None = None) -> tuple[int, bytes, float | None]:
    def resolve(host: str, port: int, **_kind: object) -> list[Found]:
        return socket.getaddrinfo("127.0.0.1" if host.endswith(".invalid") else host, port, type=socket.SOCK_STREAM)

    with open_checked(url, guard or AddressGuard([LOOPBACK], resolve, hosts=OPEN), limits) as response:
        return response.status, b"".join(response.chunks), response.retry_after_seconds


def drip(part: bytes, seconds: float) -> Iterator[bytes]:
    while True:
        yield part
        time.sleep(seconds)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.1.2.3",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.8",
        "192.0.0.9",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::1.1.1.1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "64:ff9b::1.1.1.1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:0101:0101::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_any_other_address_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("port", [80, 443])
def test_the_guard_connects_to_the_address_that_it_checked(port: int) -> None:
    network = FakeNetwork("1.1.1.1")

    network.guard().connect("audio.invalid", port, 3).close()

    assert network.connected == [("1.1.1.1", port, 3)]


def test_a_mapped_address_is_connected_to_as_the_one_that_it_stands_for() -> None:
    network = FakeNetwork("::ffff:1.1.1.1", "1.1.1.1", answering=False)

    with pytest.raises(RecordingNotReady, match=r"audio\.invalid does not answer"):
        network.guard().connect("audio.invalid", 80, 3)

    assert network.connected == [("1.1.1.1", 80, 3)]


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    network = FakeNetwork("1.1.1.1", "10.0.0.1")

    with pytest.raises(RecordingRefused, match=r"10\.0\.0\.1 port 80"):
        network.guard().connect("audio.invalid", 80, 3)

    assert network.connected == []


def test_a_public_address_on_another_port_is_refused() -> None:
    with pytest.raises(RecordingRefused, match="port 8080"):
        FakeNetwork("1.1.1.1").guard().connect("audio.invalid", 8080, 3)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::7"])
def test_an_allowed_network_may_be_reached_on_any_port(address: str) -> None:
    network = FakeNetwork(address)

    network.guard("10.0.0.0/8", "fd00::/64").connect("audio.invalid", 8080, 3).close()

    assert len(network.connected) == 1


def test_only_a_few_of_many_addresses_are_tried() -> None:
    network = FakeNetwork(*(f"1.1.1.{last}" for last in range(100)), answering=False)

    with pytest.raises(RecordingNotReady):
        network.guard().connect("audio.invalid", 80, 3)

    assert len(network.connected) == 4


@pytest.mark.parametrize("found", [[], None])
def test_a_name_without_an_address_is_not_ready(found: list[Found] | None) -> None:
    def resolve(*_arguments: object, **_kind: object) -> list[Found]:
        if found is None:
            raise socket.gaierror
        return found

    with pytest.raises(RecordingNotReady, match=r"audio\.invalid"):
        AddressGuard(resolve=resolve, hosts=OPEN).connect("audio.invalid", 80, 3)


def test_a_host_that_can_be_no_name_is_refused() -> None:
    with pytest.raises(RecordingRefused, match="no valid name"):
        AddressGuard().connect("a" * 70 + ".invalid", 80, 3)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "audio.invalid/a.mp3",
        "ftp://audio.invalid/a.mp3",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://",
        "http:///a.mp3",
        "http://user:password@audio.invalid/a.mp3",
        "http://audio.invalid:99999/a.mp3",
        "http://audio.invalid\n/a.mp3",
        "http://[::1/a.mp3",
    ],
)
def test_an_address_that_is_no_plain_http_address_is_refused(url: str) -> None:
    with pytest.raises(RecordingRefused):
        fetch(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
def test_loopback_in_any_spelling_is_refused_unless_allowed(host: str) -> None:
    with pytest.raises(RecordingRefused, match="neither public nor allowed"):
        fetch(f"http://{host}/a.mp3", guard=AddressGuard(hosts=OPEN))


def test_an_answer_is_streamed_with_its_status() -> None:
    with server(b"HTTP/1.1 206 Partial\r\nContent-Length: 5\r\nRetry-After: 7\r\n\r\nhello") as (port, requests):
        answer = fetch(f"http://audio.invalid:{port}/a%20b?signature=x#part")

    assert answer == (206, b"hello", 7)
    assert requests[0].startswith(b"GET /a%20b?signature=x HTTP/1.1\r\n")
    assert f"host: audio.invalid:{port}\r\n".encode() in requests[0].lower()
    assert b"accept-encoding: identity\r\n" in requests[0].lower()


def test_a_chunked_answer_is_joined_and_no_encoding_is_undone() -> None:
    body = b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    with server(b"HTTP/1.1 200 OK\r\n" + body) as (port, _):
        assert fetch(f"http://127.0.0.1:{port}/")[1] == b"hello"


@pytest.mark.parametrize("value", ["soon", "9" * 5000, "Wed, 99 Nov 99999999999 99:99:99 GMT"])
def test_a_wait_that_cannot_be_read_is_none(value: str) -> None:
    with server(f"HTTP/1.1 429 Slow\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode()) as (port, _):
        assert fetch(f"http://127.0.0.1:{port}/") == (429, b"", None)


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as (port, _):
        assert fetch(f"http://127.0.0.1:{port}/")[1] == b"ok"


def test_a_redirect_is_followed() -> None:
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as (target, _):
        moved = f"HTTP/1.1 302 Found\r\nLocation: //other.invalid:{target}/b\r\nContent-Length: 0\r\n\r\n"
        with server(moved.encode()) as (port, _):
            assert fetch(f"http://127.0.0.1:{port}/a")[1] == b"ok"


def test_each_host_on_the_way_is_named_before_it_is_asked_and_the_last_gives_the_answer() -> None:
    way: list[tuple[str, int]] = []
    with server(b"HTTP/1.1 429 Wait\r\nContent-Length: 0\r\n\r\n") as (target, asked):
        moved = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{target}/b\r\nContent-Length: 0\r\n\r\n"
        with server(moved.encode()) as (port, asked_first):
            url, guard = f"http://127.0.0.1:{port}/a", AddressGuard([LOOPBACK], hosts=OPEN)
            note = lambda host: way.append((host, len(asked_first) + len(asked)))  # noqa: E731 - it is shorter
            with open_checked(url, guard, LIMITS, note) as response:
                assert (response.host, response.status) == (f"127.0.0.1:{target}", 429)
    assert way == [(f"127.0.0.1:{port}", 0), (f"127.0.0.1:{target}", 1)]


def test_a_host_that_may_not_be_asked_now_is_sent_nothing() -> None:
    def not_now(_host: str) -> None:
        raise LookupError

    network = FakeNetwork("1.1.1.1")
    with pytest.raises(LookupError), open_checked("http://a.invalid/", network.guard(), LIMITS, not_now):
        pass
    assert network.connected == []


def test_waiting_for_a_host_costs_the_fetch_none_of_its_time() -> None:
    limits = FetchLimits(max_bytes=10, total_seconds=3)
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as (port, _):
        guard = AddressGuard([LOOPBACK], hosts=OPEN)
        with open_checked(f"http://127.0.0.1:{port}/", guard, limits, lambda _host: time.sleep(3.2)) as response:
            assert b"".join(response.chunks) == b"ok"


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.2/", "http://[::1]:8080/", "file:///etc/passwd", "http://[bad", "http://a:b@127.0.0.1/"],
)
def test_a_redirect_is_checked_like_the_first_address(location: str) -> None:
    with server(f"HTTP/1.1 301 Moved\r\nLocation: {location}\r\n\r\n".encode()) as (port, _):  # noqa: SIM117
        with pytest.raises(RecordingRefused, match=r"^after a redirect: "):
            fetch(f"http://127.0.0.1:{port}/")


def test_a_redirect_to_an_address_that_is_not_public_is_told_as_one() -> None:
    told = r"^after a redirect: 10\.1\.2\.3 is no public address, and is not in CDR_RECORDING_ALLOW_NETWORKS$"
    guard = AddressGuard([LOOPBACK])
    with (
        server(b"HTTP/1.1 301 Moved\r\nLocation: http://10.1.2.3/a\r\n\r\n") as (port, _),
        pytest.raises(RecordingRefused, match=told),
        open_checked(f"http://127.0.0.1:{port}/", guard, LIMITS),
    ):
        pass


def test_the_fourth_redirect_is_refused() -> None:
    with server(*[b"HTTP/1.1 307 Again\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"] * 4) as (port, requests):
        with pytest.raises(RecordingRefused, match="more than 3 redirects"):
            fetch(f"http://127.0.0.1:{port}/")
        assert len(requests) == 4


def test_a_redirect_to_nowhere_is_an_answer() -> None:
    with server(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n") as (port, _):
        assert fetch(f"http://127.0.0.1:{port}/")[0] == 302


def test_an_endless_body_ends_at_the_limit() -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    with server(part for part in [head, *[b"x" * 1000] * 100_000]) as (port, _):  # noqa: SIM117
        with pytest.raises(RecordingRefused, match="larger than 10000 bytes"):
            fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"junk\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nshort",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_off_is_not_ready(answer: bytes) -> None:
    with server(answer) as (port, _), pytest.raises(RecordingNotReady, match=r"127\.0\.0\.1 broke off"):
        fetch(f"http://127.0.0.1:{port}/?signature=secret")


def test_a_host_that_says_nothing_is_not_ready() -> None:
    def silence() -> Iterator[bytes]:
        time.sleep(0.5)
        yield b""

    limits = FetchLimits(max_bytes=10_000, read_seconds=0.1, total_seconds=5)
    with server(silence()) as (port, _), pytest.raises(RecordingNotReady, match="broke off"):
        fetch(f"http://127.0.0.1:{port}/", limits)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_no_drip_of_bytes_outlives_the_deadline(head: bytes) -> None:
    limits = FetchLimits(max_bytes=10_000, read_seconds=60, total_seconds=0.3)
    started = time.monotonic()
    answer = (part for source in ([head], drip(b"a", 0.02)) for part in source)

    with server(answer) as (port, _), pytest.raises(RecordingNotReady):
        fetch(f"http://127.0.0.1:{port}/", limits)

    assert time.monotonic() - started < 50


def test_a_body_below_the_least_rate_is_not_ready() -> None:
    limits = FetchLimits(max_bytes=10_000, read_seconds=0.1, total_seconds=5, min_bytes_per_second=1000)
    answer = (part for source in ([b"HTTP/1.1 200 OK\r\n\r\n"], drip(b"a", 0.02)) for part in source)

    with server(answer) as (port, _), pytest.raises(RecordingNotReady, match="slower than 1000 bytes"):
        fetch(f"http://127.0.0.1:{port}/", limits)


def test_a_host_that_does_not_speak_tls_is_not_ready() -> None:
    with server(b"HTTP/1.1 400 Bad\r\n\r\n") as (port, _), pytest.raises(RecordingNotReady, match="SSLError"):
        fetch(f"https://127.0.0.1:{port}/")


def test_tls_asks_for_the_name_and_not_for_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    class Context:
        def wrap_socket(self, sock: socket.socket, server_hostname: str) -> socket.socket:
            names.append(server_hostname)
            return sock

    names: list[str] = []
    monkeypatch.setattr(safe_http, "_tls", Context)
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as (port, requests):
        fetch(f"https://audio.invalid:{port}/")

    assert names == ["audio.invalid"]
    assert f"Host: audio.invalid:{port}\r\n".encode() in requests[0]


def test_certificates_are_verified() -> None:
    context = safe_http._tls()

    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


def test_what_the_consumer_raises_is_its_own() -> None:
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as (port, _):  # noqa: SIM117
        with (
            pytest.raises(OSError, match="disk full"),
            open_checked(f"http://127.0.0.1:{port}/", AddressGuard([LOOPBACK]), LIMITS),
        ):
            raise OSError("disk full")


def test_no_log_line_holds_a_signature(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with server(b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 2\r\n\r\nok") as (port, _):
        fetch(f"http://127.0.0.1:{port}/a.mp3?signature=secret")

    assert "secret" not in caplog.text
