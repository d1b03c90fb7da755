"""Starts children stage by stage, restarts those that die, and ends them all in reverse order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from cdr.child_process import Child, ChildProcess
from cdr.wakeup import Wakeup, wakeup_on_signals
from common.errors import ConfigurationError

BUSY_SECONDS = 0.05
IDLE_SECONDS = 1.0
# What a second request to stop leaves to each stage.
HURRY_SECONDS = 1.0
STOPPING = "Stopping: what is under way is finished first; asked again, it is broken off"


class Supervisor:
    """Runs `stages` of children, each stage only when all of the one before are ready.

    Each child writes `NAME.log` under `logs`; `announce` is given a line for a person when a child dies, and when all are to end.
    `run` belongs in the main thread: it takes over the signals, and children die with the thread that started them.
    """

    def __init__(self, stages: Sequence[Sequence[Child]], logs: Path, announce: Callable[[str], None]) -> None:
        self._stages = [[ChildProcess(child, logs) for child in stage] for stage in stages]
        self._announce = announce

    def run(self, on_ready: Callable[[], None]) -> None:
        """Start everything, call `on_ready`, watch until a signal asks to stop, and end every child.

        Raises ConfigurationError when a child does not get ready in its time; the others are ended first.
        """
        with wakeup_on_signals() as wakeup:
            try:
                if all(self._start(stage, wakeup) for stage in self._stages):
                    on_ready()
                    self._watch(wakeup)
            finally:
                if wakeup.stop_requests:
                    self._announce(STOPPING)
                for stage in reversed(self._stages):
                    _stop(stage, wakeup)

    def _start(self, stage: list[ChildProcess], wakeup: Wakeup) -> bool:
        """Return True once the stage is ready, False when the start was called off."""
        for process in stage:
            process.start()
        began = time.monotonic()
        waiting = stage
        while waiting and not wakeup.stop_requests:
            waiting = [process for process in waiting if not process.is_ready()]
            for process in waiting:
                if process.is_hopeless():
                    raise ConfigurationError(_not_ready(process))
                # What runs once, such as a migration, may take its time as long as it runs.
                working = process.child.once and process.is_alive()
                if not working and time.monotonic() > began + process.child.ready_seconds:
                    raise ConfigurationError(_not_ready(process))
            self._restart_dead()
            wakeup.wait(BUSY_SECONDS if waiting else 0)
        return not wakeup.stop_requests

    def _watch(self, wakeup: Wakeup) -> None:
        while not wakeup.stop_requests:
            self._restart_dead()
            for process in chain(*self._stages):
                process.limit_log()
            pausing = any(process.restart_at for process in chain(*self._stages))
            wakeup.wait(BUSY_SECONDS if pausing else IDLE_SECONDS)

    def _restart_dead(self) -> None:
        for process in chain(*self._stages):
            if process.needs_restart():
                pause = process.plan_restart()
                self._announce(f"{_ended(process)}; it starts again in {pause:g} s")
            elif process.restart_at and time.monotonic() >= process.restart_at:
                self._start_again(process)

    def _start_again(self, process: ChildProcess) -> None:
        try:
            process.start()
        except OSError as error:
            # A full disk or process table passes; it must not take the others down.
            self._announce(f"{process.child.name} cannot start: {error}; next try in {process.plan_restart():g} s")


def _stop(stage: list[ChildProcess], wakeup: Wakeup) -> None:
    for process in stage:
        process.ask_to_stop()
    deadline = time.monotonic() + max((process.child.stop_seconds for process in stage), default=0)
    hurry = time.monotonic() + HURRY_SECONDS
    while any(process.is_alive() for process in stage):
        if time.monotonic() > (min(hurry, deadline) if wakeup.stop_requests > 1 else deadline):
            for process in stage:
                process.kill()
        wakeup.wait(BUSY_SECONDS)


def _not_ready(process: ChildProcess) -> str:
    if process.exit_code() is not None:
        return f"{_ended(process)} (its log is {process.log_path})"
    return f"{process.child.name} is not ready after {process.child.ready_seconds:g} s (its log is {process.log_path})"


def _ended(process: ChildProcess) -> str:
    code = process.exit_code() or 0
    if code < 0:
        return f"{process.child.name} was killed by signal {-code}"
    words = process.last_words()
    return f"{process.child.name} ended with exit code {code}" + (f": {words}" if words else "")
