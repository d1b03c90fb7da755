"""`cdr doctor` on a Redis that cannot keep what is acknowledged: each cause is that check's finding and no other's."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from doctoring import OF_THE_TESTS, Here, at_work, here, product
from free_ports import free_port

from cdr.embedded_server import running
from cdr.embedded_valkey import EmbeddedValkey
from common.redis_client import connect

__all__ = ["here", "product"]

PASSWORD = "only-for-tests"


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_server_that_still_reads_its_data_is_not_there_yet(here: Here, open_path: Path) -> None:
    folder = open_path / "valkey"
    with valkey(folder) as connection:
        connection.mset({f"key-{number}": "x" * 1000 for number in range(2000)})
        connection.bgrewriteaof()
        eventually(lambda: not connection.info()["aof_rewrite_in_progress"])
    slow = {"key-load-delay": "15000", "loading-process-events-interval-bytes": "1024"}
    server = EmbeddedValkey(folder, free_port(), PASSWORD, slow)
    server.prepare()
    here.set(CDR_REDIS_URL=server.url())
    with subprocess.Popen(server.command(), stdout=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: here.findings()["redis.reachable"]["detail"] == "Redis is still reading its data")
            assert faults(here) == {"redis.reachable": "problem"}
        finally:
            process.kill()


@contextmanager
def valkey(folder: Path) -> Iterator[Any]:
    with running(EmbeddedValkey(folder, free_port(), PASSWORD)) as url:
        connection = connect(url)
        yield connection
        connection.close()


@pytest.fixture
def redis(here: Here, open_path: Path) -> Iterator[Any]:
    """Give a server of this test's own, with all at work on it."""
    with valkey(open_path / "valkey") as connection:
        port = connection.connection_pool.connection_kwargs["port"]
        here.set(CDR_REDIS_URL=f"redis://:{PASSWORD}@127.0.0.1:{port}/0")
        here.product.redis.close()
        here.product.redis = connection
        with at_work(here.product):
            here.publish()
            yield connection


def faults(here: Here) -> dict[str, str]:
    return {name: status for name, status in here.faults().items() if name not in OF_THE_TESTS}


def test_a_server_of_ours_is_well(here: Here, redis: Any) -> None:
    assert faults(here) == {}


def test_without_an_append_only_file_nothing_can_be_confirmed(here: Here, redis: Any) -> None:
    redis.config_set("appendonly", "no")
    assert faults(here) == {"redis.aof": "problem"}


def test_at_level_redis_that_is_a_warning(here: Here, redis: Any) -> None:
    redis.config_set("appendonly", "no")
    here.set(CDR_ACK_LEVEL="redis")
    assert faults(here) == {"redis.aof": "warning", "redis.ack_level": "warning"}


def test_a_fsync_every_second_is_a_warning(here: Here, redis: Any) -> None:
    redis.config_set("appendfsync", "everysec")
    assert faults(here) == {"redis.appendfsync": "warning"}


def test_a_server_that_never_fsyncs_does_not_confirm(here: Here, redis: Any) -> None:
    redis.config_set("appendfsync", "no")
    assert faults(here) == {"redis.appendfsync": "warning", "redis.confirms": "problem"}


def test_a_server_without_waitaof_does_not_confirm(here: Here, redis: Any) -> None:
    redis.execute_command("ACL", "SETUSER", "default", "-waitaof")
    assert faults(here) == {"redis.confirms": "problem"}
    assert "CDR_ACK_LEVEL=redis" in here.findings()["redis.confirms"]["advice"]


def test_where_config_is_closed_that_is_told(here: Here, redis: Any) -> None:
    redis.execute_command("ACL", "SETUSER", "default", "-config")
    assert faults(here) == {}
    assert here.findings()["redis.appendfsync"]["detail"] == "this Redis does not tell: CONFIG is closed"


def test_a_file_that_cannot_be_written_is_a_problem(here: Here, redis: Any) -> None:
    # With `always` the server would end at once.
    redis.config_set("appendfsync", "everysec")
    resource.prlimit(redis.info()["process_id"], resource.RLIMIT_FSIZE, (1, 1))
    redis.set("large", "x" * 100_000)
    eventually(lambda: redis.info()["aof_last_write_status"] == "err")
    assert faults(here) == {"redis.aof_write": "problem", "redis.appendfsync": "warning"}


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_may_evict_is_a_problem(here: Here, redis: Any, policy: str) -> None:
    redis.config_set("maxmemory-policy", policy)
    assert faults(here) == {"redis.eviction": "problem"}


def test_memory_without_a_bound_is_a_warning(here: Here, redis: Any) -> None:
    redis.config_set("maxmemory", 0)
    assert faults(here) == {"redis.memory": "warning"}


def test_memory_over_the_mark_is_a_problem(here: Here, redis: Any) -> None:
    redis.config_set("maxmemory", int(redis.info()["used_memory"] * 1.5))
    here.set(CDR_REDIS_MEMORY_MARK="0.5")
    assert faults(here) == {"redis.memory": "problem"}


def test_a_replica_takes_no_writes(here: Here, redis: Any) -> None:
    redis.execute_command("REPLICAOF", "127.0.0.1", 1)
    assert faults(here) == {"redis.role": "problem"}


def test_a_replica_that_is_missing_is_a_problem(here: Here, redis: Any) -> None:
    here.set(CDR_ACK_REPLICAS="1")
    assert faults(here) == {"redis.replicas": "problem"}
    assert here.findings()["redis.replicas"]["detail"].startswith("0 of 1 replicas")


def test_a_replica_that_confirms_is_well(here: Here, redis: Any, open_path: Path) -> None:
    here.set(CDR_ACK_REPLICAS="1")
    with valkey(open_path / "replica") as replica:
        replica.config_set("masterauth", PASSWORD)
        replica.execute_command("REPLICAOF", "127.0.0.1", redis.connection_pool.connection_kwargs["port"])
        eventually(lambda: redis.execute_command("WAITAOF", 0, 1, 100)[1] == 1)
        assert faults(here) == {}


def test_what_the_doctor_wrote_expires(here: Here, redis: Any) -> None:
    here.findings()
    [key] = redis.keys("cdr:doctor:*")
    assert 0 < redis.ttl(key) <= 10


def test_a_queue_that_nobody_works_on(here: Here) -> None:
    for key in here.product.redis.smembers("rq:workers"):
        if here.product.redis.hget(key, "queues") == b"recordings":
            here.product.redis.srem("rq:workers", key)
    assert faults(here) == {"queues.workers": "warning"}
    here.product.redis.delete("rq:workers")
    assert faults(here) == {"queues.workers": "problem"}


def test_a_job_that_waits_for_long_is_a_warning(here: Here) -> None:
    here.product.enqueue([])
    assert faults(here) == {}
    job = here.product.redis.lindex("rq:queue:cdrs", 0).decode()
    here.product.redis.hset(f"rq:job:{job}", "enqueued_at", "2026-01-01T00:00:00.000000Z")
    assert faults(here) == {"queues.oldest": "warning"}


def test_failed_jobs_are_a_warning_with_the_command_to_look(here: Here) -> None:
    here.product.redis.zadd("rq:failed:cdrs", {"job": -1})
    assert faults(here) == {"queues.failed": "warning"}
    assert "cdr failed list" in here.findings()["queues.failed"]["advice"]


def test_a_due_job_that_nobody_moves_is_a_problem(here: Here) -> None:
    here.product.redis.zadd("rq:scheduled:recordings", {"soon": time.time() - 5, "later": time.time() + 500})
    assert faults(here) == {}
    here.product.redis.zadd("rq:scheduled:recordings", {"long ago": time.time() - 500})
    assert faults(here) == {"queues.due": "problem"}
