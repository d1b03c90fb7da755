"""Processes of ours as a test starts them, and waiting for what they do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from loading import select

Start = Callable[..., subprocess.Popen[bytes]]


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Poll until something is true, and return it; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return value


@contextmanager
def processes(database_url: str, redis_url: str) -> Iterator[Start]:
    """Give a function that starts `cdr` subprocesses; they end with the block."""
    environment = {**os.environ, "CDR_DATABASE_URL": database_url, "CDR_REDIS_URL": redis_url}
    with ExitStack() as stack:

        def start(*arguments: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-c", "from cdr.main import main; main()", *arguments]
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield start


def loaded(database_url: str) -> set[str]:
    return {row["call_id"] for row in select(database_url, "SELECT call_id FROM cdr.cdrs")}
