"""Ends a connection at a deadline, whatever its peer does: a timeout of the socket starts anew with every byte that drips in."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer


@contextmanager
def shut_down_at(sock: socket.socket, ends_at: float) -> Iterator[None]:
    """Shut a connection down at a time of the monotonic clock, unless the block has ended by then.

    `sock` is a duplicate of the connection's socket that nobody else uses: it reaches the connection below TLS, which another
    thread must leave alone.
    """
    timer = Timer(max(0.0, ends_at - time.monotonic()), _shut_down, (sock,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _shut_down(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
