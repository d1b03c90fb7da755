"""Each fault does what its name says, and ends when it is ended: a fault that does nothing would prove nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from oracle import rounds
from oracle.checker import Finding
from oracle.faults import KINDS
from oracle.full_disk import SpoolDisk, spool_disk
from oracle.processes import describe
from oracle.product import Product, wait_for
from oracle.report import log_ends
from oracle.rounds import Oracle

pytestmark = pytest.mark.timeout(600)

SECONDS = 60.0
Check = Callable[[Product], bool]


@pytest.fixture
def product(oracle: Oracle) -> Iterator[Product]:
    yield oracle.product
    oracle.product.bring_back()


def refused_by_redis(*command: Any) -> Check:
    def check(product: Product) -> bool:
        try:
            with redis.Redis.from_url(product.redis_url, socket_timeout=1) as client:
                client.execute_command(*command)
        except redis.RedisError:
            return True
        return False

    return check


def refused_by_postgres(statement: str) -> Check:
    def check(product: Product) -> bool:
        try:
            with product.connect() as connection:
                connection.execute(statement.encode())
        except psycopg.Error:
            return True
        return False

    return check


def configured(name: str, value: str) -> Check:
    def check(product: Product) -> bool:
        with redis.Redis.from_url(product.redis_url) as client:
            return bool(client.config_get(name) == {name: value})

    return check


def frozen(role: str) -> Check:
    return lambda product: any(state(pid) == "T" for pid in product.pids(role))


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


ROLES = ("receiver", "worker cdrs", "worker recordings", "scheduler")
WRITE = ("SET", "oracle", "x" * 100_000)
EFFECTS: dict[str, Check] = {
    "redis-killed": refused_by_redis("PING"),
    "redis-terminated": refused_by_redis("PING"),
    "redis-frozen": refused_by_redis("PING"),
    "redis-out-of-memory": refused_by_redis(*WRITE),
    "redis-replica": refused_by_redis(*WRITE),
    "redis-disk-full": refused_by_redis(*WRITE),
    "redis-without-aof": configured("appendonly", "no"),
    "redis-evicts": configured("maxmemory-policy", "allkeys-lru"),
    "postgres-killed": refused_by_postgres("SELECT 1"),
    "postgres-fast": refused_by_postgres("SELECT 1"),
    "postgres-immediate": refused_by_postgres("SELECT 1"),
    "postgres-frozen": refused_by_postgres("SELECT 1"),
    "postgres-read-only": refused_by_postgres("DELETE FROM cdr.extensions"),
    "cdrs-locked": refused_by_postgres("SELECT FROM cdr.cdrs LIMIT 1"),
    "calls-locked": refused_by_postgres("SELECT FROM cdr.calls LIMIT 1"),
    "receiver-frozen": frozen("receiver"),
    "worker-frozen": frozen("worker cdrs"),
    "recorder-frozen": frozen("worker recordings"),
    "scheduler-frozen": frozen("scheduler"),
}


@pytest.mark.parametrize("kind", EFFECTS)
def test_a_fault_is_felt_until_it_ends(product: Product, kind: str) -> None:
    # The test before may have ended a process, which cannot be frozen before it is back.
    wait_for(lambda: all(map(product.pids, ROLES)), SECONDS, "not all processes run")
    KINDS[kind].begin(product, 0)
    wait_for(lambda: EFFECTS[kind](product), SECONDS, f"{kind} is not felt")

    def has_ended() -> bool:
        # A server that ends by itself of its full disk may not have ended yet, and is then not started again.
        KINDS[kind].end(product, 0)
        return not EFFECTS[kind](product)

    wait_for(has_ended, SECONDS, f"{kind} does not end")


@pytest.mark.parametrize(
    ("kind", "role"),
    [
        ("receivers-killed", "receiver"),
        ("worker-terminated", "worker cdrs"),
        ("recorder-killed", "worker recordings"),
        ("scheduler-killed", "scheduler"),
        ("up-killed", "worker hooks"),
        ("up-terminated", "receiver"),
        ("tree-killed", "scheduler"),
    ],
)
def test_a_process_that_is_killed_is_replaced(product: Product, kind: str, role: str) -> None:
    wait_for(lambda: product.pids(role), SECONDS, f"no {role} runs")
    before = set(product.pids(role))
    KINDS[kind].begin(product, 0)
    try:
        # A worker that is told to end does so after its statement, which may take a minute on a disk that is held up.
        wait_for(lambda: before - set(product.pids(role)), 2 * SECONDS, "nobody was killed")
    except AssertionError as error:
        error.add_note("\n".join([*map(describe, before), *log_ends(product.logs)]))
        raise

    def is_back() -> bool:
        KINDS[kind].end(product, 0)
        return bool(set(product.pids(role)) - before)

    wait_for(is_back, SECONDS, "nobody was started again")


def test_connections_of_redis_and_postgres_are_ended(product: Product) -> None:
    with redis.Redis.from_url(product.redis_url, retry=None) as client, product.connect() as connection:
        held = client.connection_pool.get_connection()
        KINDS["redis-clients-killed"].begin(product, 0)
        KINDS["postgres-sessions-ended"].begin(product, 0)
        with pytest.raises(redis.ConnectionError):
            held.read_response()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_a_full_spool_disk_takes_no_byte_until_there_is_room_again(tmp_path: Path) -> None:
    with spool_disk(tmp_path / "spool") as disk:
        assert_fills(disk)


def test_without_a_file_system_of_its_own_the_writers_of_the_spool_are_bounded(tmp_path: Path) -> None:
    assert_fills(SpoolDisk(tmp_path, mounted=False))


def assert_fills(disk: SpoolDisk) -> None:
    """Let a process write, then not, then again."""
    program = "import sys\nfor line in sys.stdin:\n try: open(sys.argv[1], 'ab', 0).write(bytes(9999)), print('written')\n except OSError: print('refused')\n sys.stdout.flush()"
    command = [sys.executable, "-c", program, str(disk.folder / "1.spool")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None

        def write() -> str:
            print(file=writer.stdin, flush=True)
            return writer.stdout.readline().strip()  # type: ignore[union-attr]

        answers = [write()]
        disk.fill([writer.pid])
        # The first may still have filled the last block.
        answers += [write(), write()]
        disk.empty()
        answers.append(write())
        writer.stdin.close()
    assert (answers[0], *answers[2:]) == ("written", "refused", "written")


def test_a_job_that_failed_is_a_finding_of_the_round(oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "SETTLE_SECONDS", 1.0)

    def leave_a_failed_job(_driver: object, _traffic: object) -> None:
        with redis.Redis.from_url(oracle.product.redis_url) as client:
            client.zadd("rq:failed:cdrs", {"job-1": 1})

    played = oracle.play_by_hand("a failed job", leave_a_failed_job)

    assert Finding("left over", "rq:failed:cdrs: 1") in played.findings
    assert oracle.has_failed
    # What is wrong here on purpose is no finding of the run.
    oracle.rounds.remove(played)
