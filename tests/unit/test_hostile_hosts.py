"""No host, name or redirect leads a fetch to a private address, and none keeps it busy without end.

Names are answered by a resolver of these tests. Public addresses stand for a server on the loopback, by a connector that
counts where it is sent.
"""

from __future__ import annotations

import gzip
import ipaddress
import itertools
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from test_safe_http import LOOPBACK, drip, server

from common.errors import RecordingNotReady, RecordingRefused
from common.host_list import HostList
from worker.recordings import bounded_wire, safe_http
from worker.recordings.address_guard import AddressGuard, is_public
from worker.recordings.safe_http import FetchLimits, open_checked

LIMITS = FetchLimits(max_bytes=4_000_000, connect_seconds=1, read_seconds=5, total_seconds=30)
OPEN = HostList.parse("open")
LISTED = HostList.parse("public.invalid,*.public.invalid")
PUBLIC = "93.184.216.34"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Network:
    """Names with the answers that they give one after the other, and where connections went."""

    def __init__(self) -> None:
        self.names: dict[str, Iterator[Sequence[str]]] = {}
        self.lookups: list[str] = []
        self.connections: list[str] = []
        self.port = 0

    def name(self, name: str, *answers: Sequence[str]) -> None:
        self.names[name] = itertools.chain(answers, itertools.repeat(answers[-1]))

    def resolve(self, host: str, port: int, **_kind: object) -> list[tuple[Any, ...]]:
        self.lookups.append(host)
        if (answers := self.names.get(host.removesuffix("."))) is not None:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(answers)]
        # As the system reads numbers, in all their spellings, and no name.
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

    def connect(self, address: tuple[str, int], timeout: float) -> socket.socket:
        self.connections.append(address[0])
        if not is_public(ipaddress.ip_address(address[0])):
            raise ConnectionRefusedError
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def fetch(self, url: str, hosts: HostList = OPEN) -> bytes:
        guard = AddressGuard([], self.resolve, self.connect, hosts)
        with open_checked(url, guard, LIMITS) as response:
            return b"".join(response.chunks)


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network()
    made.name("public.invalid", [PUBLIC])
    made.name("public.invalid.public.invalid", [PUBLIC])
    made.name("private.invalid", ["10.0.0.1"])
    made.name("loopback.invalid", ["127.0.0.1"])
    made.name("metadata.invalid", ["169.254.169.254"])
    made.name("mapped.invalid", ["::ffff:127.0.0.1"])
    made.name("nat64.invalid", ["64:ff9b::7f00:1"])
    made.name("6to4.invalid", ["2002:7f00:1::"])
    made.name("link.invalid", ["fe80::1%1"])
    made.name("localhost", ["127.0.0.1", "::1"])
    yield made
    assert [each for each in made.connections if not is_public(ipaddress.ip_address(each))] == []


PRIVATE_URLS = [
    "http://127.0.0.1/",
    "https://127.0.0.1/",
    "http://127.0.0.1:8080/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.0.0.1./",
    "http://0/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://100.100.100.200/",
    "http://192.0.0.192/",
    "http://[::]/",
    "http://[::1]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25lo]/",
    "http://[fe80::1%251]/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://loopback.invalid/",
    "http://loopback.invalid./",
    "http://private.invalid/",
    "http://metadata.invalid/latest/meta-data/",
    "http://mapped.invalid/",
    "http://nat64.invalid/",
    "http://6to4.invalid/",
    "http://link.invalid/",
    "http://public.invalid@127.0.0.1/",
    "http://public.invalid:80@127.0.0.1/",
    "http://127.0.0.1\\@public.invalid/",
    "http://127.0.0.1%23@public.invalid/",
    "http://127.0.0.1%2f.public.invalid/",
    "http://127。0。0。1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127.0.0.1\t/",
    "http://127.0.0.1%00.public.invalid/",
    "http://public.invalid:22/",
    "http://public.invalid:0/",
    "http://public.invalid:443@127.0.0.1:80/",
    "ftp://127.0.0.1/",
    "file:///etc/passwd",
    "gopher://127.0.0.1/",
    "http:127.0.0.1",
    "http:///127.0.0.1/",
]


@pytest.mark.parametrize("hosts", [OPEN, LISTED], ids=["open", "listed"])
@pytest.mark.parametrize("url", PRIVATE_URLS)
def test_no_address_of_a_cdr_leads_inside(network: Network, url: str, hosts: HostList) -> None:
    with pytest.raises((RecordingRefused, RecordingNotReady)):
        network.fetch(url, hosts)
    assert network.connections == []


@pytest.mark.parametrize("hosts", [OPEN, LISTED], ids=["open", "listed"])
@pytest.mark.parametrize("location", [*PRIVATE_URLS, "//127.0.0.1/", "///127.0.0.1/", "\\\\127.0.0.1\\", "http://[bad"])
def test_no_redirect_leads_inside(network: Network, location: str, hosts: HostList) -> None:
    moved = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    # Some of these lead back to the host itself, which moves them again.
    answers = [moved] * (LIMITS.max_redirects + 1)
    with server(*answers) as (network.port, _), pytest.raises((RecordingRefused, RecordingNotReady)):
        network.fetch("http://public.invalid/1.mp3", hosts)
    assert network.connections[0] == PUBLIC


def test_no_chain_of_redirects_leads_inside(network: Network) -> None:
    def moved(location: str) -> bytes:
        return f"HTTP/1.1 307 Again\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()

    hops = [moved("/a"), moved("//public.invalid/b"), moved("http://loopback.invalid/c")]
    with server(*hops) as (network.port, requests), pytest.raises(RecordingRefused, match=r"127\.0\.0\.1"):
        network.fetch("http://public.invalid/1.mp3")
    assert len(requests) == len(network.connections) == 3


def test_a_name_that_changes_its_answer_is_asked_once_and_where_it_led_then_is_connected_to(network: Network) -> None:
    network.name("rebinding.invalid", [PUBLIC], ["127.0.0.1"])
    with server(OK) as (network.port, _):
        assert network.fetch("http://rebinding.invalid/1.mp3") == b"ok"
    assert network.lookups == ["rebinding.invalid"]
    assert network.connections == [PUBLIC]


def test_a_name_that_changes_its_answer_after_a_redirect_to_itself_is_refused(network: Network) -> None:
    network.name("rebinding.invalid", [PUBLIC], ["127.0.0.1"])
    moved = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
    with server(moved) as (network.port, _), pytest.raises(RecordingRefused, match=r"127\.0\.0\.1"):
        network.fetch("http://rebinding.invalid/a")
    assert network.lookups == ["rebinding.invalid"] * 2


@pytest.mark.parametrize(
    "answers",
    [
        [PUBLIC, "127.0.0.1"],
        ["10.0.0.1", PUBLIC],
        [PUBLIC] * 50 + ["::1"],
        [PUBLIC, "::ffff:10.0.0.1"],
        [PUBLIC, "64:ff9b::a00:1"],
        ["2606:4700::1111", "fe80::1%1"],
    ],
)
def test_a_name_with_an_address_inside_among_public_ones_is_refused(network: Network, answers: list[str]) -> None:
    network.name("mixed.invalid", answers)
    with pytest.raises(RecordingRefused):
        network.fetch("http://mixed.invalid/1.mp3")
    assert network.connections == []


@pytest.mark.parametrize("url", ["http://public.invalid/1.mp3", "http://PUBLIC.invalid.:80/1.mp3"])
def test_a_host_is_told_the_name_that_was_checked(network: Network, url: str) -> None:
    with server(OK) as (network.port, requests):
        assert network.fetch(url, LISTED) == b"ok"
    assert b"\r\nHost: public.invalid\r\n" in requests[0]


def test_what_stands_behind_a_backslash_is_a_path_and_no_host(network: Network) -> None:
    with server(OK) as (network.port, requests):
        assert network.fetch("http://public.invalid\\@127.0.0.1/1.mp3", LISTED) == b"ok"
    assert network.connections == [PUBLIC]
    assert requests[0].startswith(b"GET /%5C@127.0.0.1/1.mp3 HTTP/1.1\r\nHost: public.invalid\r\n")


def test_a_host_cannot_be_told_a_second_name(network: Network) -> None:
    with pytest.raises((RecordingRefused, RecordingNotReady)):
        network.fetch("http://public.invalid\r\nHost: private.invalid/")
    with server(OK) as (network.port, requests):
        network.fetch("http://public.invalid/1.mp3?a\r\nHost: private.invalid")
    assert requests[0].count(b"\r\nHost:") == 1


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim answers with heads": (b"", b"HTTP/1.1 100 Continue\r\n" + b"X: 1\r\n" * 90 + b"\r\n"),
    "chunks of a byte": (CHUNKED, b"1\r\na\r\n"),
    "extensions of chunks": (CHUNKED, b"1;" + b"x" * 60_000 + b"\r\na\r\n"),
    "trailers": (CHUNKED + b"2\r\nok\r\n0\r\n", b"X: 1\r\n"),
}


@pytest.mark.parametrize(("begin", "again"), ENDLESS.values(), ids=ENDLESS.keys())
def test_what_comes_beside_the_body_has_an_end(begin: bytes, again: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_wire, "FRAMING_BYTES", 100_000)
    sent = [0]

    def endless() -> Iterator[bytes]:
        yield begin
        block = again * (1 + 50_000 // len(again))
        while True:
            yield block
            sent[0] += len(block)

    with server(endless()) as (port, _), pytest.raises(RecordingRefused, match="beside its body"):
        fetch(port)
    assert sent[0] < 16_000_000


@pytest.mark.parametrize("again", [b"X: 1\r\n", b"x" * 1000, b" folded\r\n"])
def test_a_head_without_end_breaks_off(again: bytes) -> None:
    def endless() -> Iterator[bytes]:
        yield HEAD
        while True:
            yield again * 100

    with server(endless()) as (port, _), pytest.raises(RecordingNotReady, match="broke off"):
        fetch(port)


@pytest.mark.parametrize("head", [b"", HEAD, HEAD + b"X: 1\r\nX: "])
def test_a_head_that_drips_is_cut_off_long_before_a_body_would_be(head: bytes) -> None:
    limits = FetchLimits(max_bytes=10_000, read_seconds=5, head_seconds=0.2, total_seconds=100)
    answer = (part for source in ([head], drip(b"a", 0.02)) for part in source)
    began = time.monotonic()
    with server(answer) as (port, _), pytest.raises(RecordingNotReady):
        fetch(port, limits)
    assert time.monotonic() - began < 50


def test_a_handshake_that_drips_is_cut_off_too() -> None:
    # The certificates are read once a process, which may take longer than the handshake is given here.
    safe_http._tls()
    limits = FetchLimits(max_bytes=10_000, read_seconds=5, head_seconds=1, total_seconds=100)
    answer = (part for source in ([b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb"], drip(b"a", 0.02)) for part in source)
    began = time.monotonic()
    with server(answer) as (port, _), pytest.raises(RecordingNotReady, match="broke off"):
        fetch(port, limits, "https")
    assert time.monotonic() - began < 50


def test_a_body_may_take_longer_than_a_head() -> None:
    def slow_body() -> Iterator[bytes]:
        yield HEAD + b"Content-Length: 8\r\n\r\n"
        for _ in range(8):
            time.sleep(0.2)
            yield b"a"

    limits = FetchLimits(max_bytes=10_000, head_seconds=1.5, total_seconds=100)
    with server(slow_body()) as (port, _):
        assert fetch(port, limits) == b"a" * 8


def test_a_bomb_is_never_inflated() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    head = f"Content-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    with server(HEAD + head + bomb) as (port, _):
        assert fetch(port) == bomb


def test_a_long_body_with_little_beside_it_is_taken() -> None:
    block = b"%x\r\n%s\r\n" % (1000, b"x" * 1000)
    answer = [CHUNKED, *[block] * 3000, b"0\r\n\r\n"]
    with server(iter(answer)) as (port, _):
        assert len(fetch(port)) == 3_000_000


def fetch(port: int, limits: FetchLimits = LIMITS, scheme: str = "http") -> bytes:
    with open_checked(f"{scheme}://127.0.0.1:{port}/", AddressGuard([LOOPBACK]), limits) as response:
        return b"".join(response.chunks)
