"""A line between a client and a server on this machine that carries only so many bytes a second towards the server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self

_PIECE = 16_384


class SlowLine:
    """Passes bytes on to `port` of the loopback address, slowly, and back at once."""

    def __init__(self, port: int, bytes_per_second: int) -> None:
        self._target = port
        self._pause = _PIECE / bytes_per_second
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while self._listener.fileno() >= 0:
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                for source, target, pause in ((client, server, self._pause), (server, client, 0.0)):
                    threading.Thread(target=self._pass_on, args=(source, target, pause), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, pause: float) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_PIECE):
                target.sendall(data)
                time.sleep(pause * len(data) / _PIECE)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
        # Each of the two directions closes what it reads from.
        source.close()
