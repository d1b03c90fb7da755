"""`cdr status`: tells what waits and who works, and what it can when a server is away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from command_line import POISON, Product, delivery, product
from doctoring import black_hole

from api.spool import Batch
from api.spool_folder import SpoolFolder
from common.job_queue import CDRS, LOAD_CDRS, intermediate_key, job_key, queue_key
from common.queue_format import lease_key
from common.receiver_state import ReceiverState, SpoolState, publish_commands
from worker import orphans
from worker.holds import Hold
from worker.orphans import OrphanFinder
from worker.queue_worker import CdrWorker
from worker.sweep import sweep

__all__ = ["product"]

DEAD_REDIS = "redis://:a-password@127.0.0.1:1/0"
DEAD_POSTGRESQL = "postgresql://somebody:a-password@127.0.0.1:1/none"


@contextmanager
def registered_worker(product: Product) -> Iterator[CdrWorker]:
    worker = CdrWorker([CDRS], connection=product.redis)
    worker.register_birth()
    try:
        yield worker
    finally:
        worker.register_death()


def test_queues_workers_and_counts_are_told(product: Product) -> None:
    product.refuse_poison()
    product.enqueue([delivery(number) for number in range(3)], [delivery(3, caller=POISON)])
    product.work()
    product.enqueue([delivery(5)])
    first = product.redis.lindex(queue_key(CDRS), 0).decode()
    product.redis.hset(job_key(first), "enqueued_at", "2026-01-01T00:00:00.000000Z")
    with registered_worker(product) as worker:
        done = product.cdr("status", "--json")
        for_people = product.cdr("status").out
    assert worker.name in for_people
    rows = [" ".join(line.split()) for line in for_people.splitlines()]
    assert "deliveries loaded 3" in rows
    [loaded_at] = [row.removeprefix("last loaded at ") for row in rows if row.startswith("last loaded at ")]
    assert datetime.fromisoformat(loaded_at).isoformat(timespec="seconds") == loaded_at
    assert done.exit_code == 0
    cdrs = {queue["queue"]: queue for queue in done.json["queues"]}["cdrs"]
    assert cdrs.pop("oldest_seconds") > 86_400
    assert cdrs == {"queue": "cdrs", "waiting": 1, "in_work": 0, "scheduled": 0, "failed": 1, "workers": 1}
    [shown] = done.json["workers"]
    assert (shown["name"], shown["queue"]) == (worker.name, "cdrs")
    assert abs(datetime.fromisoformat(shown["last_heartbeat"]).timestamp() - time.time()) < 60
    counters = done.json["counters"]
    assert (counters["loaded"], counters["refused"]) == (3, 1)
    assert abs(datetime.fromisoformat(counters["last_loaded_at"]).timestamp() - time.time()) < 60
    assert (done.json["ack_level"], done.json["errors"]) == ("fsync", {})


def test_receivers_and_their_spools_are_told(product: Product) -> None:
    spool = SpoolState(entries=2, cdrs=7, bytes=900, max_bytes=1000, oldest_seconds=3661.0, problem="the disk is full")
    told = [
        ReceiverState("one", time.time(), "fsync", "nothing", "Redis is away", spool),
        ReceiverState("two", time.time(), "fsync", "redis", None, None),
    ]
    for command in (command for state in told for command in publish_commands(state)):
        product.redis.execute_command(*command)

    done = product.cdr("status")

    assert done.exit_code == 0
    assert [each["name"] for each in product.cdr("status", "--json").json["receivers"]] == ["one", "two"]
    assert product.cdr("status", "--json").json["receivers"][0]["spool"] == msgspec.to_builtins(spool)
    rows = [" ".join(line.split()) for line in done.out.splitlines()]
    assert "one nothing 7 2 900 1:01:01 Redis is away; the disk is full" in rows
    assert "two redis no spool" in rows


def test_an_empty_system_is_told_too(product: Product) -> None:
    done = product.cdr("status", "--json")
    assert done.exit_code == 0
    assert [queue["waiting"] for queue in done.json["queues"]] == [0, 0, 0]
    assert (done.json["workers"], done.json["quarantine_kept"]) == ([], 0)
    assert done.json["outbox"] == {"entries": 0, "oldest_seconds": None}
    nothing = {"loaded": 0, "refused": 0, "recovered": 0, "orphans": 0, "last_loaded_at": None}
    assert done.json["counters"] == nothing
    assert "never" in product.cdr("status").out


def test_what_was_brought_back_is_told(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "LEASE_SECONDS", 0)
    product.enqueue([delivery(1)], [delivery(2)], [delivery(3)])
    for _ in range(2):
        hold = Hold(product.redis, CDRS)
        hold.take(product.redis.lmove(queue_key(CDRS), intermediate_key(CDRS)).decode(), 0)
        product.redis.zadd(lease_key(CDRS), dict.fromkeys(hold.job_ids, 1))
        sweep(product.redis)
    product.redis.lpop(queue_key(CDRS))
    OrphanFinder(product.redis).walk()
    counters = product.cdr("status", "--json").json["counters"]
    assert (counters["recovered"], counters["orphans"]) == (2, 1)
    rows = [" ".join(line.split()) for line in product.cdr("status").out.splitlines()]
    assert {"jobs of dead workers put back 2", "jobs found in no place, put back 1"} <= set(rows)


def test_the_lag_of_the_outbox_is_its_oldest_entry(product: Product) -> None:
    product.run(
        "INSERT INTO cdr.outbox (kind, created_at) VALUES ('calls', now() - interval '1 hour'), ('calls', now())"
    )
    outbox = product.cdr("status", "--json").json["outbox"]
    assert outbox["entries"] == 2
    assert 3600 <= outbox["oldest_seconds"] < 3700
    assert "1:00:0" in product.cdr("status").out


def test_without_redis_the_database_is_told_and_the_exit_is_1(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDR_REDIS_URL", DEAD_REDIS)
    done = product.cdr("status", "--json")
    assert done.exit_code == 1
    assert "queues" not in done.json
    assert done.json["quarantine_kept"] == 0
    assert list(done.json["errors"]) == ["redis"]
    assert "redis does not answer" in product.cdr("status").out


def test_what_a_worker_has_in_hand_is_told_as_in_work(product: Product) -> None:
    product.enqueue([delivery(0)], [delivery(1)])
    taken = product.redis.lmove(queue_key(CDRS), intermediate_key(CDRS)).decode()
    states = [product.cdr("status", "--json").json["queues"][0]]
    Hold(product.redis, CDRS).take(taken, 0)
    states.append(product.cdr("status", "--json").json["queues"][0])
    assert [(state["waiting"], state["in_work"]) for state in states] == [(1, 1), (1, 1)]


@pytest.fixture
def spool_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CDR_SPOOL_DIR", str(tmp_path / "spool"))
    return tmp_path / "spool"


def test_while_redis_hangs_the_spools_of_this_host_are_told_all_the_same(
    product: Product, spool_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with black_hole() as address, closing(SpoolFolder(spool_folder, 1 << 30).open()) as spool:
        monkeypatch.setenv("CDR_REDIS_URL", f"redis://{address}/0")
        monkeypatch.setattr("cdr.status._TIMEOUT_SECONDS", 0.2)
        with monkeypatch.context() as past:
            past.setattr("api.spool.time.time", lambda: time.time_ns() / 1e9 - 3661)
            spool.append([Batch(LOAD_CDRS, 1, b"[1]", 5)])
        spool.append([Batch(LOAD_CDRS, 1, b"[2]", 2)])
        done = product.cdr("status", "--json")
        [told] = done.json["spools_here"]
        shown = product.cdr("status").out
        # It was read beside its owner, who goes on.
        spool.delete([entry.entry_id for entry in spool.oldest(100)])
        [emptied] = product.cdr("status", "--json").json["spools_here"]

    assert (done.exit_code, list(done.json["errors"])) == (1, ["redis"])
    assert 3661 <= told.pop("oldest_seconds") < 3720
    assert told.pop("file").endswith(".spool")
    assert (told.pop("cdrs"), told.pop("entries")) == (7, 2)
    assert told.pop("bytes") > 0
    assert told == {}
    assert " 7 2 " in " ".join(shown.split())
    assert " 1:01:0" in " ".join(shown.split())
    assert (emptied["cdrs"], emptied["entries"], emptied["bytes"], emptied["oldest_seconds"]) == (0, 0, 0, None)


def test_what_a_dead_receiver_left_in_its_spool_is_told_too(product: Product, spool_folder: Path) -> None:
    dead = SpoolFolder(spool_folder, 1 << 30).open()
    dead.append([Batch(LOAD_CDRS, 1, b"[1]", 5)])
    dead.close()
    [told] = product.cdr("status", "--json").json["spools_here"]
    assert (told["cdrs"], told["entries"]) == (5, 1)


def test_a_spool_of_which_nothing_was_noted_is_named(product: Product, spool_folder: Path) -> None:
    spool_folder.mkdir()
    for name in ("1-of-an-older-release.spool", "1-of-an-older-release.spool.lock", "2-without-a-lock.spool"):
        (spool_folder / name).touch()
    told = product.cdr("status", "--json").json["spools_here"]
    unknown = {"cdrs": None, "entries": None, "bytes": None, "oldest_seconds": None}
    assert [each.pop("file") for each in told] == ["1-of-an-older-release.spool", "2-without-a-lock.spool"]
    assert told == [unknown, unknown]


def test_a_spool_folder_that_cannot_be_read_is_told_as_its_part(product: Product, spool_folder: Path) -> None:
    done = product.cdr("status", "--json")
    assert (done.exit_code, list(done.json["errors"])) == (1, ["spool"])
    assert len(done.json["queues"]) == 3


def test_without_redis_and_without_a_folder_it_is_told_how_to_see_the_spools(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CDR_SPOOL_DIR", raising=False)
    assert "spools_here" not in product.cdr("status", "--json").json
    assert "CDR_SPOOL_DIR" not in product.cdr("status").out
    monkeypatch.setenv("CDR_REDIS_URL", DEAD_REDIS)
    assert "cdr status --data DIR" in product.cdr("status").out


def test_the_settings_of_a_cdr_up_that_does_not_run_are_wrong_usage(product: Product, tmp_path: Path) -> None:
    assert product.cdr("status", "--data", str(tmp_path)).exit_code == 2


def test_without_postgresql_the_queues_are_told_and_the_exit_is_1(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDR_DATABASE_URL", DEAD_POSTGRESQL)
    done = product.cdr("status", "--json")
    assert done.exit_code == 1
    assert len(done.json["queues"]) == 3
    assert list(done.json["errors"]) == ["postgresql"]
    assert "a-password" not in done.out + product.cdr("status").out


def test_a_missing_setting_is_told_as_its_part(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDR_DATABASE_URL")
    done = product.cdr("status", "--json")
    assert done.exit_code == 1
    assert done.json["errors"] == {"postgresql": "CDR_DATABASE_URL: is required"}


@pytest.mark.parametrize("address", ["somebody:a-password%zz@127.0.0.1/none", "127.0.0.1/none?a-password=x"])
def test_an_address_that_cannot_be_read_is_not_shown(
    product: Product, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("CDR_DATABASE_URL", f"postgresql://{address}")
    done = product.cdr("status", "--json")
    assert "a-password" not in done.out + done.err
    assert done.json["errors"]["postgresql"].startswith("CDR_DATABASE_URL: ")


def test_a_job_that_waits_for_postgresql_keeps_its_age(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    product.enqueue([delivery(1)])
    first = product.redis.lindex(queue_key(CDRS), 0).decode()
    product.redis.hset(job_key(first), "enqueued_at", "2026-01-01T00:00:00.000000Z")

    monkeypatch.setenv("CDR_DATABASE_URL", DEAD_POSTGRESQL)
    worker = CdrWorker([CDRS], connection=product.redis)
    monkeypatch.setattr(worker, "_pause", lambda _error: setattr(worker, "_stop_requested", True))
    worker.work(burst=True, logging_level="CRITICAL")
    assert product.redis.lindex(queue_key(CDRS), 0).decode() == first
    oldest = {queue["queue"]: queue for queue in product.cdr("status", "--json").json["queues"]}["cdrs"][
        "oldest_seconds"
    ]
    assert oldest > 86_400
