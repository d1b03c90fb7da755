"""PostgreSQL away, slow, full or refusing everybody: no job fails, workers wait, and all is rows once it is back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from free_ports import free_port
from loading import delivery, leg
from own_postgres import ROLE, OwnPostgres, until
from tcp_proxy import TcpProxy

from common.job_queue import CDRS, LOAD_CDRS, NewJob, failed_key, queue_key, scheduled_key
from worker.outbox import enqueue


@pytest.fixture(scope="module")
def kept_server(undurable_folder: Path) -> Iterator[OwnPostgres]:
    folder = undurable_folder / "away"
    folder.mkdir(mode=0o711)
    server = OwnPostgres(folder)
    yield server
    server.stop()


@pytest.fixture
def server(kept_server: OwnPostgres) -> Iterator[OwnPostgres]:
    kept_server.empty()
    yield kept_server
    if not kept_server.is_up:
        kept_server.stop(signal.SIGQUIT)
        kept_server.start()


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


class Work:
    """A worker process on one server, and the CDRs that it was given."""

    def __init__(self, connection: redis.Redis, server: OwnPostgres) -> None:
        self.connection = connection
        self.server = server
        self.queued: set[str] = set()

    def queue(self, *call_ids: str, **fields: Any) -> None:
        batch = [delivery(leg(call_id, **fields)) for call_id in call_ids]
        enqueue(self.connection, [NewJob(CDRS, LOAD_CDRS, (batch,), "load")])
        self.queued |= set(call_ids)

    def loaded(self) -> set[str]:
        return {call_id for (call_id,) in self.server.query("SELECT call_id FROM cdr.cdrs")}

    def await_put_back(self) -> None:
        """Wait until a job has gone back to the head of its queue, to which nothing else pushes, once more."""
        before = self._put_back()
        until(lambda: self._put_back() > before)

    def _put_back(self) -> int:
        return int(self.connection.info("commandstats").get("cmdstat_lpush", {"calls": 0})["calls"])

    def await_rows(self) -> None:
        until(lambda: self.loaded() == self.queued)
        until(lambda: not self.connection.llen(queue_key(CDRS)))
        assert self.connection.zcard(failed_key(CDRS)) == self.connection.zcard(scheduled_key(CDRS)) == 0


@contextmanager
def worker(url: str, redis_url: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "CDR_DATABASE_URL": url, "CDR_REDIS_URL": redis_url}
    command = [sys.executable, "-m", "cdr", "worker", "cdrs"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2]
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def work(connection: redis.Redis, server: OwnPostgres, redis_url: str) -> Iterator[Work]:
    """Start a worker that has loaded a CDR, so that it holds a connection."""
    made = Work(connection, server)
    made.queue("before")
    with worker(server.loader_url(), redis_url):
        made.await_rows()
        yield made


def test_down_when_a_job_starts(connection: redis.Redis, server: OwnPostgres, redis_url: str) -> None:
    server.stop()
    made = Work(connection, server)
    made.queue("a", "b")
    with worker(server.loader_url(), redis_url):
        made.await_put_back()
        made.await_put_back()
        server.start()
        made.await_rows()


OF_THE_WORKER = "SELECT pid FROM pg_stat_activity WHERE application_name = 'cdr worker'"
END_THE_WORKERS_SESSIONS = f"SELECT pg_terminate_backend(pid) FROM ({OF_THE_WORKER}) AS sessions"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGQUIT, signal.SIGINT])
def test_gone_in_mid_transaction(work: Work, how: signal.Signals) -> None:
    with closing(psycopg.connect(work.server.url)) as blocker:
        blocker.execute("LOCK TABLE cdr.cdrs IN SHARE MODE")
        work.queue("a", "b")
        until(lambda: blocker.execute(f"{OF_THE_WORKER} AND wait_event_type = 'Lock'").fetchall())
        work.server.stop(how)
    work.queue("c")
    work.await_put_back()
    work.server.start()
    work.await_rows()


def test_restarted_between_two_jobs(work: Work) -> None:
    work.server.stop()
    work.server.start()
    work.queue("a")
    work.await_rows()


def test_shutting_down_while_somebody_is_connected(work: Work) -> None:
    with psycopg.connect(work.server.url, autocommit=True) as somebody:
        work.server.send(signal.SIGTERM)
        until(lambda: says(work.server, "shutting down"))
        # Only now, for until then each of the worker's threads may open another one.
        until(lambda: not somebody.execute(END_THE_WORKERS_SESSIONS).fetchall())
        work.queue("a")
        work.await_put_back()
    work.server.wait()
    work.server.start()
    work.await_rows()


def says(server: OwnPostgres, words: str) -> bool:
    """Tell whether a new session is refused with these words."""
    try:
        psycopg.connect(server.url, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        return words in str(error)
    return False


def test_a_standby_that_takes_no_sessions_yet_and_then_only_readers(work: Work) -> None:
    work.server.stop()
    (work.server.cluster / "standby.signal").touch()
    work.server.begin_to_start(hot_standby="off")
    until(lambda: says(work.server, "not yet accepting connections") or says(work.server, "not accepting connections"))
    work.queue("a")
    work.await_put_back()
    work.server.stop(signal.SIGQUIT)
    work.server.begin_to_start(hot_standby="on")
    until(lambda: readable(work.server))
    work.await_put_back()
    work.server.run("SELECT pg_promote()")
    work.await_rows()


def readable(server: OwnPostgres) -> bool:
    try:
        return server.query("SELECT pg_is_in_recovery()") == [(True,)]
    except psycopg.OperationalError:
        return False


def test_sessions_ended_by_an_administrator(work: Work) -> None:
    for call_id in "abc":
        work.server.run(END_THE_WORKERS_SESSIONS)
        work.queue(call_id)
        work.await_rows()


BROKEN_AND_MENDED = {
    "read-only by default": (
        "ALTER DATABASE cdr SET default_transaction_read_only = on",
        "ALTER DATABASE cdr RESET default_transaction_read_only",
    ),
    "too many connections": (f"ALTER ROLE {ROLE} CONNECTION LIMIT 0", f"ALTER ROLE {ROLE} CONNECTION LIMIT -1"),
    "wrong password": (f"ALTER ROLE {ROLE} PASSWORD 'another'", f"ALTER ROLE {ROLE} PASSWORD 'of-the-loader'"),
    "no sessions allowed": (
        "ALTER DATABASE cdr ALLOW_CONNECTIONS false",
        "ALTER DATABASE cdr ALLOW_CONNECTIONS true",
    ),
    "no privilege": (f"REVOKE ALL ON cdr.cdrs FROM {ROLE}", f"GRANT ALL ON cdr.cdrs TO {ROLE}"),
    "no schema": ("ALTER SCHEMA cdr RENAME TO away", "ALTER SCHEMA away RENAME TO cdr"),
    "no table": ("ALTER TABLE cdr.cdrs RENAME TO away", "ALTER TABLE cdr.away RENAME TO cdrs"),
    "no column": ("ALTER TABLE cdr.cdrs RENAME problems TO away", "ALTER TABLE cdr.cdrs RENAME away TO problems"),
}


@pytest.mark.parametrize("cause", BROKEN_AND_MENDED)
def test_refusing_everybody(work: Work, cause: str) -> None:
    broken, mended = BROKEN_AND_MENDED[cause]
    work.server.run(broken, database="postgres" if "DATABASE" in broken else "cdr")
    work.server.run(END_THE_WORKERS_SESSIONS, database="postgres")
    work.queue("a", "b")
    work.await_put_back()
    work.await_put_back()
    work.server.run(mended, database="postgres" if "DATABASE" in broken else "cdr")
    work.await_rows()


@pytest.mark.parametrize("privilege", ["INSERT ON cdr.deliveries", "UPDATE ON cdr.cdrs", "INSERT ON cdr.recordings"])
def test_refusing_what_only_some_deliveries_need(work: Work, privilege: str) -> None:
    work.server.run(f"REVOKE {privilege} FROM {ROLE}")
    work.queue("before", record="https://records.invalid/1.mp3")
    work.await_put_back()
    work.await_put_back()
    work.server.run(f"GRANT {privilege} TO {ROLE}")
    until(lambda: work.server.query("SELECT delivery_count FROM cdr.cdrs") == [(2,)])
    work.await_rows()


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small disk on a folder where this process may; tell whether it did."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256m,mode=0711", "cdr-test", folder], capture_output=True, check=False
    )
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def no_room(server: OwnPostgres, disk: Path, *, real: bool) -> Iterator[None]:
    """Leave no room on the disk; where none could be mounted, let no file of the server grow."""
    if not real:
        with server.limited_files(1 << 20):
            yield
        return
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        try:
            while True:
                file.write(b"x" * 65536)
                file.flush()
        except OSError:
            pass
    yield
    ballast.unlink()


@pytest.mark.parametrize("real", [True, False])
def test_a_full_disk(connection: redis.Redis, redis_url: str, open_path: Path, real: bool) -> None:
    disk = open_path / "disk"
    with small_disk(disk) as mounted:
        server = OwnPostgres(disk)
        work = Work(connection, server)
        with worker(server.loader_url(), redis_url):
            work.queue("before")
            work.await_rows()
            with no_room(server, disk, real=real and mounted):
                for number in range(40):
                    # Of such texts that a page holds one or two, so that the table has to grow.
                    work.queue(*(f"{number}-{place}" for place in range(20)), var_ballast=os.urandom(3000).hex())
                work.await_put_back()
                work.await_put_back()
                assert ("No space left" if mounted and real else "File too large") in server.log()
            until(lambda: server.is_up or restarted(server))
            work.await_rows()
        server.stop(signal.SIGQUIT)


def restarted(server: OwnPostgres) -> bool:
    """Start a server that a full disk has ended."""
    if server.has_ended:
        server.start()
    return server.is_up


def test_an_address_that_takes_everything_and_says_nothing(
    connection: redis.Redis, server: OwnPostgres, redis_url: str
) -> None:
    with TcpProxy(server.port) as proxy:
        made = Work(connection, server)
        proxy.silent = True
        made.queue("a")
        with worker(server.loader_url(proxy.port), redis_url):
            made.await_put_back()
            made.await_put_back()
            proxy.silent = False
            made.await_rows()


def test_a_network_that_cuts_every_line(connection: redis.Redis, server: OwnPostgres, redis_url: str) -> None:
    with TcpProxy(server.port) as proxy:
        made = Work(connection, server)
        with worker(server.loader_url(proxy.port), redis_url):
            for call_id in "abcdef":
                made.queue(call_id)
                proxy.cut_all()
                made.await_rows()


@pytest.mark.parametrize("url", ["postgresql://no-such-host.invalid/cdr", "postgresql://127.0.0.1:{port}/cdr"])
def test_an_address_without_a_server(connection: redis.Redis, server: OwnPostgres, redis_url: str, url: str) -> None:
    made = Work(connection, server)
    made.queue("a")
    with worker(url.format(port=free_port()), redis_url):
        made.await_put_back()
        made.await_put_back()
    with worker(server.loader_url(), redis_url):
        made.await_rows()
