"""Chooses the ports of `cdr up`: the one asked for, or the one of the last start, or a free one."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Collection

from common.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
# What a killed `cdr up` left behind needs a moment to end and to give its ports back.
WAIT_SECONDS = 5.0
POLL_SECONDS = 0.05


def required_port(host: str, port: int, wait_seconds: float = WAIT_SECONDS) -> int:
    """Return `port` once it is free on `host`; raise ConfigurationError when it is not to be had."""
    error = _bind_error(host, port)
    deadline = time.monotonic() + wait_seconds
    while error is not None and error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        error = _bind_error(host, port)
    if error is not None:
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror} (--port 0 takes a free one and keeps it)"
        ) from error
    return port


def kept_port(host: str, port: int | None, taken: Collection[int] = (), wait_seconds: float = WAIT_SECONDS) -> int:
    """Return `port`, that of the last start, or a free one when there is none or another program took it.

    The free one is none of `taken`, the ports that are chosen but not yet listened on.
    """
    if port is not None:
        try:
            return required_port(host, port, wait_seconds)
        except ConfigurationError:
            # Only the address of another host would fail again, and then with its own words.
            pass
    fresh = free_port(host)
    while fresh in taken:
        fresh = free_port(host)
    return fresh


def free_port(host: str = LOOPBACK) -> int:
    """Return a port of `host` on which nothing listens now."""
    try:
        with _bound(host, 0) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}: {error.strerror}") from error


def _bind_error(host: str, port: int) -> OSError | None:
    try:
        with _bound(host, port):
            return None
    except OSError as error:
        return error


def _bound(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    probe = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Connections that ended lately do not keep a server from starting, so they must not keep us.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
    except OSError:
        probe.close()
        raise
    return probe
