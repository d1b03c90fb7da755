from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
from free_ports import free_port

from common.job_queue import HOOKS
from common.redis_client import connect
from worker.queue_worker import CdrWorker, work

ROOT = Path(__file__).parents[2]


def environment(redis_url: str) -> dict[str, str]:
    ours = {"CDR_REDIS_URL": redis_url, "CDR_DATABASE_URL": "postgresql://127.0.0.1/none"}
    return {name: value for name, value in os.environ.items() if not name.startswith("CDR_")} | ours


def test_a_worker_that_finds_no_redis_says_so_in_a_line_and_fails() -> None:
    # A port that was free a moment ago, on which nothing answers.
    done = subprocess.run(
        [sys.executable, "-m", "cdr", "worker", HOOKS],
        cwd=ROOT,
        env=environment(f"redis://127.0.0.1:{free_port()}/0"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Redis is away" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_whose_loop_ends_by_itself_fails(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CdrWorker, "work", lambda *_, **__: False)
    assert work(HOOKS, connect(redis_url)) == 1


def test_a_worker_that_is_told_to_stop_has_done_its_work(redis_url: str) -> None:
    command = [sys.executable, "-m", "cdr", "worker", HOOKS]
    with subprocess.Popen(command, cwd=ROOT, env=environment(redis_url)) as worker:
        try:
            wait_until_idle(redis_url)
            worker.terminate()
            assert worker.wait(30) == 0
        finally:
            worker.kill()


def wait_until_idle(redis_url: str) -> None:
    """A worker takes signals from when it first waits for a job."""
    deadline = time.monotonic() + 60
    with redis.Redis.from_url(redis_url) as connection:
        while [connection.hget(key, "state") for key in connection.smembers("rq:workers")] != [b"idle"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
