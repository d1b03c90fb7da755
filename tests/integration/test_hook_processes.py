"""Hooks in processes of their own: what becomes of a CDR whose hook kills them, hangs, or cannot even be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hooking import EXIT_CODE_OF_DEADLY, LOG, WRITE
from loading import delivery, leg, select
from running import Start, processes, until

from common.failed_jobs import Filter, find_ids, list_failed
from common.job_queue import CDRS, HOOKS, LOAD_CDRS, NewJob, queue_key, scheduled_key
from common.queue_format import lease_key
from common.queue_state import read_workers
from common.replay_failed import replay
from worker.outbox import enqueue
from worker.sweep import MOST_DEATHS, seen_key, sweep


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name the file to which the hook writes a line a call, in every process that is started from now on."""
    path = tmp_path / "log"
    path.touch()
    for name, value in ((LOG, str(path)), ("CDR_HOOKS", WRITE), ("PYTHONPATH", str(Path(__file__).parent))):
        monkeypatch.setenv(name, value)
    return path


@pytest.fixture
def start(log: Path, database_url: str, redis_url: str) -> Iterator[Start]:
    with processes(database_url, redis_url) as begin:
        yield begin


def queue_cdrs(connection: Any, *call_ids: str) -> None:
    enqueue(connection, [NewJob(CDRS, LOAD_CDRS, ([delivery(leg(call_id)) for call_id in call_ids],), "load")])


def called(log: Path) -> list[str]:
    return [line.split()[0] for line in log.read_text(encoding="utf-8").splitlines()]


def at_rest(connection: Any) -> bool:
    return not connection.exists(queue_key(HOOKS), lease_key(HOOKS))


def let_leases_run_out(connection: Any) -> None:
    """Do what time does: nobody has renewed for longer than a lease."""
    for job_id in connection.zrange(lease_key(HOOKS), 0, -1):
        connection.zadd(lease_key(HOOKS), {job_id: 1})
    for name in connection.zrange(seen_key(HOOKS, "taken"), 0, -1):
        connection.zadd(seen_key(HOOKS, "taken"), {name: 1})


def test_a_loaded_cdr_reaches_the_hook_through_real_processes(start: Start, connection: redis.Redis, log: Path) -> None:
    for role in (("worker", "cdrs"), ("worker", "hooks"), ("scheduler",)):
        start(*role)
    queue_cdrs(connection, *(f"call-{number}" for number in range(200)))
    until(lambda: len(called(log)) == 200 and at_rest(connection), seconds=60)
    assert len(set(called(log))) == 200


def test_a_worker_that_is_killed_in_a_hook_calls_it_again_and_loading_went_on(
    start: Start, connection: redis.Redis, database_url: str, log: Path
) -> None:
    queue_cdrs(connection, "endless")
    start("worker", "cdrs")
    victim = start("worker", "hooks")
    until(lambda: called(log) == ["endless"], seconds=60)
    # A hook that does not return holds up other hooks of its process, and nothing else.
    queue_cdrs(connection, "loaded meanwhile")
    until(lambda: len(select(database_url, "SELECT FROM cdr.cdrs")) == 2)
    victim.kill()
    victim.wait()
    let_leases_run_out(connection)
    assert sweep(connection) == 1
    start("worker", "hooks")
    until(lambda: called(log).count("endless") == 2, seconds=60)
    [first, second] = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("endless")]
    assert first == second


def test_a_hook_that_ends_its_process_is_a_failed_job_after_as_many_deaths_as_any(
    start: Start, connection: redis.Redis, database_url: str, log: Path
) -> None:
    queue_cdrs(connection, "deadly", "a")
    start("worker", "cdrs")
    until(lambda: connection.llen(queue_key(HOOKS)) == 2, seconds=60)
    for _ in range(MOST_DEATHS):
        assert start("worker", "hooks").wait(60) == EXIT_CODE_OF_DEADLY
        let_leases_run_out(connection)
        sweep(connection)
    [failure] = list_failed(connection, Filter(queue=HOOKS))
    assert (failure.reason, failure.call_ids) == ("kills_workers", ["deadly"])
    assert (called(log).count("deadly"), called(log).count("a")) == (MOST_DEATHS, 1)
    assert len(select(database_url, "SELECT FROM cdr.cdrs")) == 2
    assert list(find_ids(connection, Filter(call_id="deadly"))) == [(HOOKS, failure.job_id)]
    replay(connection, find_ids(connection, Filter()))
    assert connection.llen(queue_key(HOOKS)) == 1


def test_a_hook_that_calls_sys_exit_has_failed_and_its_process_works_on(
    start: Start, connection: redis.Redis, log: Path
) -> None:
    queue_cdrs(connection, "gone", "a")
    start("worker", "cdrs")
    worker = start("worker", "hooks")
    until(lambda: sorted(called(log)) == ["a", "gone"] and connection.zcard(scheduled_key(HOOKS)) == 1, seconds=60)
    until(lambda: at_rest(connection))
    assert worker.poll() is None
    worker.terminate()
    assert worker.wait(30) == 0


@pytest.mark.parametrize(
    ("hooks", "told"),
    [
        ("no_such_module:hook", "no_such_module:hook cannot be imported: ModuleNotFoundError"),
        ("hooking:no_such_function", "hooking:no_such_function cannot be imported: AttributeError"),
        ("hooking:NO_FUNCTION", "hooking:NO_FUNCTION is no function"),
        ("hooking:never_awaited", "hooking:never_awaited is async or a generator"),
        ("hooking:never_iterated", "hooking:never_iterated is async or a generator"),
        ("broken_module:hook", "broken_module:hook cannot be imported: SystemExit: not today"),
        ("hooking", "'hooking' is no function: write package.module:function"),
    ],
)
def test_a_hook_that_cannot_be_called_keeps_its_worker_from_starting(
    redis_url: str, database_url: str, tmp_path: Path, log: Path, hooks: str, told: str
) -> None:
    (tmp_path / "broken_module.py").write_text("import sys; sys.exit('not today')", encoding="utf-8")
    path = os.pathsep.join((str(Path(__file__).parent), str(tmp_path)))
    settings = {"CDR_DATABASE_URL": database_url, "CDR_REDIS_URL": redis_url, "CDR_HOOKS": hooks, "PYTHONPATH": path}
    ended = subprocess.run(
        [sys.executable, "-c", "from cdr.main import main; main()", "worker", "hooks"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"cdr: CDR_HOOKS: {told}")


@pytest.mark.parametrize("queue", ["cdrs", "recordings"])
def test_other_workers_start_without_the_modules_of_hooks(
    redis_url: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue: str
) -> None:
    monkeypatch.setenv("CDR_HOOKS", "no_such_module:hook")
    monkeypatch.setenv("CDR_RECORDINGS_URL", tmp_path.as_uri())
    with processes(database_url, redis_url) as start, redis.Redis.from_url(redis_url) as connection:
        worker = start("worker", queue)
        until(lambda: any(each.state == "idle" for each in read_workers(connection)), seconds=60)
        worker.terminate()
        assert worker.wait(30) == 0
