"""One child of the supervisor: started with its own log and session, watched, restarted with growing pauses, ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
# A child that lived this long has proved itself, and the next pause is short again.
PROVEN_SECONDS = 10.0
# The exit code of wrong settings and wrong usage: another try would end the same way.
WRONG_USAGE = 2
LOG_BYTES = 10_000_000
TAIL_BYTES = 4096


@dataclass(frozen=True)
class Child:
    """What to run: `argv` as it is, with `environment` added to ours.

    `prepare` runs before each start. `is_ready` is asked until it says yes, for `ready_seconds` at most. A child
    that runs `once` is ready when it has exited with 0 and is run again until then, unless it says that its settings
    are wrong. `stop_seconds` after `stop_signal` it is killed.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None
    is_ready: Callable[[], bool] = lambda: True
    ready_seconds: float = 60.0
    once: bool = False
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15.0


class ChildProcess:
    """The running process of a `Child`, if there is one."""

    def __init__(self, child: Child, logs: Path) -> None:
        self.child = child
        self.log_path = logs / f"{child.name}.log"
        self.restart_at: float | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pause = FIRST_PAUSE_SECONDS

    def start(self) -> None:
        """Start the child in a session of its own, so that the terminal's Ctrl-C reaches the supervisor only."""
        self.restart_at = None
        self.child.prepare()
        self.limit_log()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the command lines are the product's own
                self.child.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.child.environment},
                start_new_session=True,
            )
        self._started_at = time.monotonic()

    def limit_log(self) -> None:
        """Put a log that has grown large aside; the child, which appends to it, goes on in the emptied file."""
        with suppress(OSError):
            if self.log_path.stat().st_size > LOG_BYTES:
                shutil.copyfile(self.log_path, self.log_path.with_suffix(".log.1"))
                os.truncate(self.log_path, 0)

    def exit_code(self) -> int | None:
        """Return the exit code (minus the signal's number when killed), None while the child runs."""
        return self._process.poll() if self._process else None

    def is_alive(self) -> bool:
        """Tell whether there is a process."""
        return self._process is not None and self._process.poll() is None

    def is_ready(self) -> bool:
        """Tell whether those that depend on the child may start."""
        if self.child.once:
            return self.exit_code() == 0
        return self.is_alive() and self.child.is_ready()

    def needs_restart(self) -> bool:
        """Tell whether the child has ended and should not have."""
        code = self.exit_code()
        return code is not None and self.restart_at is None and not (self.child.once and code == 0)

    def is_hopeless(self) -> bool:
        """Tell whether a child that runs once has said that its settings are wrong."""
        return self.child.once and self.exit_code() == WRONG_USAGE

    def plan_restart(self) -> float:
        """Note when the child is to start again and return the pause until then, in seconds."""
        now = time.monotonic()
        if now - self._started_at >= PROVEN_SECONDS:
            self._pause = FIRST_PAUSE_SECONDS
        pause = self._pause
        self._pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self.restart_at = now + pause
        return pause

    def ask_to_stop(self) -> None:
        """Send the child its stop signal, if it runs."""
        if self._process:
            self._process.send_signal(self.child.stop_signal)

    def kill(self) -> None:
        """Kill the child and its process group."""
        # The child leads its group and is not reaped yet, so the group's number is still its own.
        if self._process and self.is_alive():
            os.killpg(self._process.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """Return the last line of the child's log."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
                lines = log.read().decode("utf-8", "replace").split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
