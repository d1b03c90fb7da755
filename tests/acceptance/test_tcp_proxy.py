"""The proxies: what passes, and each way in which it does not."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest
from free_ports import free_port
from oracle.tcp_proxy import PASS, Manner, TcpProxy, proxies

TEXT = b"0123456789" * 300
PATIENCE_SECONDS = 0.3


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    with echo() as port, proxies() as loop:
        yield loop.proxy(free_port(), port, seed=1)


@contextmanager
def echo() -> Iterator[int]:
    """Send back what comes, on every connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while chunk := connection.recv(65_536):
                    connection.sendall(chunk)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            Thread(target=serve, args=(connection,), daemon=True).start()

    thread = Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@contextmanager
def connected(proxy: TcpProxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
        yield connection


def exchange(connection: socket.socket, text: bytes = TEXT) -> bytes:
    """Send a text and return what comes back of it before the connection ends."""
    connection.sendall(text)
    answer = b""
    try:
        while len(answer) < len(text) and (chunk := connection.recv(65_536)):
            answer += chunk
    except ConnectionResetError:
        pass
    return answer


@pytest.mark.parametrize("manner", [PASS, Manner(delay_seconds=0.01), Manner(trickle=True)])
def test_everything_arrives_in_its_order(proxy: TcpProxy, manner: Manner) -> None:
    proxy.behave(manner)
    with connected(proxy) as connection:
        assert exchange(connection) == TEXT


def test_a_slow_proxy_holds_each_chunk_back(proxy: TcpProxy) -> None:
    proxy.behave(Manner(delay_seconds=PATIENCE_SECONDS))
    began = time.monotonic()
    with connected(proxy) as connection:
        exchange(connection)
    assert time.monotonic() - began >= 2 * PATIENCE_SECONDS


def test_what_is_held_passes_when_the_manner_changes(proxy: TcpProxy) -> None:
    proxy.behave(Manner(hold=True))
    with connected(proxy) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        with pytest.raises(TimeoutError):
            exchange(connection)
        proxy.behave(PASS)
        connection.settimeout(10)
        assert connection.recv(10) == TEXT[:10]


def test_a_cut_ends_open_connections_and_not_later_ones(proxy: TcpProxy) -> None:
    with connected(proxy) as connection:
        assert exchange(connection) == TEXT
        proxy.cut_all()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with connected(proxy) as connection:
        assert exchange(connection) == TEXT


@pytest.mark.parametrize("direction", ["request", "answer"])
def test_some_connections_end_in_the_middle_of_a_chunk(proxy: TcpProxy, direction: str) -> None:
    proxy.behave(Manner(cut=direction))  # type: ignore[arg-type]
    answers = []
    for _ in range(40):
        with connected(proxy) as connection:
            answers.append(exchange(connection))
    assert TEXT in answers
    assert any(answer != TEXT for answer in answers)
    assert all(TEXT.startswith(answer) for answer in answers)


def test_who_connects_while_nobody_listens_behind_is_cut_off() -> None:
    with proxies() as loop:
        proxy = loop.proxy(free_port(), free_port())
        # Whether it reads the end or a reset, and whether the reset comes in time to be told to
        # who connects or to who sends, is for the kernel.
        with suppress(ConnectionResetError, BrokenPipeError), connected(proxy) as connection:
            assert exchange(connection) == b""
