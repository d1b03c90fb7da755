"""PostgreSQL and Valkey as the test's own children, which it may kill, freeze and start again."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time

from cdr.embedded_server import EmbeddedServer
from oracle.processes import descendants, send

START_SECONDS = 60.0
STOP_SECONDS = 20.0


class Server:
    """A server that runs, or does not, as the schedule says. Used from the main thread only: its child dies with that."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen: list[int] = []
        self._ending = False

    def start(self) -> None:
        """Start it unless it runs; it need not be ready on return. One that was told to end is let end first."""
        if self._ending and self._process is not None:
            self.thaw()
            self._process.wait(STOP_SECONDS)
        self._ending = False
        if self.is_running():
            return
        self.server.prepare()
        with (self.server.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(self.server.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def is_running(self) -> bool:
        """Tell whether there is a process."""
        return self._process is not None and self._process.poll() is None

    def answers(self) -> bool:
        """Tell whether it runs, is not frozen and is ready."""
        return self.is_running() and not self._frozen and self.server.is_ready()

    @property
    def pid(self) -> int | None:
        """The process's id, None when it does not run."""
        return self._process.pid if self._process is not None and self.is_running() else None

    def end(self, number: signal.Signals) -> None:
        """Send it a signal of which it ends, if it runs."""
        if self.pid is not None:
            self._ending = True
            send(self.pid, number)

    def freeze(self) -> None:
        """Stop it and all its processes, until `thaw`."""
        if self.pid is not None:
            self._frozen += [self.pid, *descendants(self.pid)]
            for pid in self._frozen:
                send(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let what was frozen go on."""
        while self._frozen:
            send(self._frozen.pop(), signal.SIGCONT)

    def bring_back(self) -> None:
        """Let it run and be ready again, whatever was done to it."""
        self.thaw()
        deadline = time.monotonic() + START_SECONDS
        while not (self.is_running() and self.server.is_ready()):
            self.start()
            assert time.monotonic() < deadline, f"{self.server.name} does not come back"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in good order, if it runs."""
        self.thaw()
        self.end(self.server.stop_signal)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
            self._process.kill()
            self._process.wait()
