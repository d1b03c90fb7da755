"""A proxy between a client and a server on this machine, which can swallow what passes, or cut the line at a word."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class TcpProxy:
    """Passes bytes on to `port` of the loopback address.

    While `silent` it takes what comes and says nothing, and new connections are taken too. `cut_after`: once a client has
    sent these bytes and they were passed on, all that the server answers is dropped and the line is cut.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.silent = False
        self.cut_after: bytes | None = None
        self.cuts = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        while self._open:
            line = self._open.pop()
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                if self._listener.fileno() < 0:
                    return
                client.close()
                continue
            self._open += [client, server]
            lost = threading.Event()
            for source, target, from_client in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass_on, args=(source, target, lost, from_client), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, lost: threading.Event, from_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if lost.is_set() and not from_client:
                    break
                # Bytes that a line has swallowed are gone: what came after them would make no sense.
                if self.silent:
                    lost.set()
                if lost.is_set():
                    continue
                word = self.cut_after
                if from_client and word is not None and word in data:
                    self.cut_after = None
                    self.cuts += 1
                    lost.set()
                target.sendall(data)
        if self.silent:
            # Who swallows everything swallows the other's goodbye, too.
            return
        for line in (source, target):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
