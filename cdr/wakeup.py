"""Wakes the supervisor's one thread when a signal to stop comes or a child ends, without polling."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Wakeup:
    """Waits for signals; `stop_requests` counts those that ask to stop."""

    def __init__(self, receiver: socket.socket) -> None:
        self._receiver = receiver
        self.stop_requests = 0

    def wait(self, seconds: float) -> None:
        """Return when a signal came since the last call, or after `seconds`."""
        if select.select([self._receiver], [], [], seconds)[0]:
            self._receiver.recv(4096)

    def count_stop(self, *_: object) -> None:
        """Note one request to stop; a signal handler."""
        self.stop_requests += 1


@contextmanager
def wakeup_on_signals() -> Iterator[Wakeup]:
    """Take over SIGINT, SIGTERM, SIGHUP and SIGCHLD of the main thread for the length of a with-block."""
    receiver, sender = socket.socketpair()
    with receiver, sender:
        sender.setblocking(False)
        wakeup = Wakeup(receiver)
        # A signal without a handler of Python's writes no byte, hence one that does nothing.
        handlers = {signal.SIGCHLD: lambda *_: None, **dict.fromkeys(STOP_SIGNALS, wakeup.count_stop)}
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
            # Started with nohup: it is to outlive its terminal.
            del handlers[signal.SIGHUP]
        former_sender = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield wakeup
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(former_sender)
