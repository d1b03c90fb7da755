"""Ports are kept while they are free, waited for when they are about to be, and replaced only when they may be."""

from __future__ import annotations

import socket
import threading

import pytest

from cdr import ports
from cdr.ports import LOOPBACK, free_port, kept_port, required_port
from common.errors import ConfigurationError


@pytest.fixture
def taken() -> socket.socket:
    return socket.create_server((LOOPBACK, 0))


def test_a_free_port_is_kept() -> None:
    port = free_port()

    assert kept_port(LOOPBACK, port) == port


def test_another_port_replaces_one_that_another_program_took(taken: socket.socket) -> None:
    with taken:
        port = taken.getsockname()[1]

        assert kept_port(LOOPBACK, port, wait_seconds=0) != port


def test_a_required_port_that_another_program_has_is_refused(taken: socket.socket) -> None:
    with taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConfigurationError, match=f"port {port}: Address already in use"):
            required_port(LOOPBACK, port, wait_seconds=0.1)


def test_a_port_that_is_about_to_become_free_is_waited_for(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    timer = threading.Timer(0.2, taken.close)
    timer.start()

    assert required_port(LOOPBACK, port) == port
    timer.join()


def test_an_address_of_another_host_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1"):
        kept_port("192.0.2.1", 8080)


def test_a_new_port_is_none_of_those_already_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = iter([5001, 5002])
    monkeypatch.setattr(ports, "free_port", lambda _: next(offered))

    assert kept_port(LOOPBACK, None, taken={5001}) == 5002
