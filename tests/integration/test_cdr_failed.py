"""`cdr failed`: what failed is listed with its reason and goes back, or goes, exactly as far as was asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import pytest
from command_line import POISON, Product, delivery, product

from cdr.audit import actor
from common.failed_index import index_key, note_failure
from common.failed_jobs import Failure, Filter, find_ids, list_failed
from common.job_queue import (
    CDRS,
    FETCH_RECORDINGS,
    LOAD_CDRS,
    RECORDINGS,
    JobSerializer,
    NewJob,
    failed_key,
    job_key,
    queue_key,
)
from common.replay_failed import discard, replay

__all__ = ["product"]

CALL = "20231114221320call"


def add_failed(product: Product, count: int, queue: str = CDRS, **failure: Any) -> list[str]:
    """Put jobs where a worker leaves those that failed, a second apart and the first a day ago."""
    ids = []
    started = time.time() - 86_400
    with product.redis.pipeline(transaction=False) as pipeline:
        for number in range(count):
            job = NewJob(queue, LOAD_CDRS, ([delivery(number)],), "load 1", f"{queue}-{number:06}")
            meta = Failure(
                **{"reason": "refused_by_database", "sqlstate": "23514", "error": "no", **failure}, failed_at=0
            )
            pipeline.execute_command(*job.commands()[0])
            pipeline.hset(
                job_key(job.job_id), mapping={"status": "failed", "meta": JobSerializer.dumps(meta.as_meta({}))}
            )
            pipeline.zadd(failed_key(queue), {job.job_id: -1})
            note_failure(pipeline, queue, job.job_id, started + number)
            ids.append(job.job_id)
        pipeline.execute()
    return ids


def waiting(product: Product, queue: str = CDRS) -> list[str]:
    return [each.decode() for each in product.redis.lrange(queue_key(queue), 0, -1)]


def test_one_refused_cdr_in_a_thousand_fails_alone_and_loads_after_its_cause_is_gone(product: Product) -> None:
    product.refuse_poison()
    batch = [delivery(number, caller=POISON if number == 617 else "0540000000") for number in range(1000)]
    product.enqueue(batch)
    product.work()
    assert product.count("cdr.cdrs") == 999

    [job] = product.cdr("failed", "list", "--json").json
    assert job["call_ids"] == [f"{CALL}617"]
    assert (job["queue"], job["reason"], job["sqlstate"], job["attempts"]) == (
        "cdrs",
        "refused_by_database",
        "23514",
        1,
    )
    assert set(job) == {"job_id", "queue", "call_ids", "reason", "sqlstate", "error", "failed_at", "attempts"}
    assert abs(datetime.now(UTC).timestamp() - datetime.fromisoformat(job["failed_at"]).timestamp()) < 60
    assert "cdrs 0, 0 executing, 1 finished, 1 failed" in stock_rq_info()

    product.allow_poison()
    assert product.counted("failed", "replay", "--all") == 1
    product.work()
    assert product.count("cdr.cdrs") == 1000
    assert product.cdr("failed", "list", "--json").json == []


def stock_rq_info() -> str:
    environment = {
        **os.environ,
        "RQ_JOB_CLASS": "common.job_queue.CdrJob",
        "RQ_QUEUE_CLASS": "common.job_queue.CdrQueue",
    }
    command = [sys.executable, "-m", "rq.cli", "info", "--raw", "--url", os.environ["CDR_REDIS_URL"]]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_cdr_that_fails_again_is_one_entry_with_two_attempts(product: Product) -> None:
    product.refuse_poison()
    product.enqueue([delivery(1, caller=POISON), delivery(2)])
    product.work()
    [first] = product.cdr("failed", "list", "--json").json
    assert product.counted("failed", "replay", "--call-id", f"{CALL}1") == 1
    product.work()
    [second] = product.cdr("failed", "list", "--json").json
    assert (second["job_id"], second["call_ids"]) == (first["job_id"], first["call_ids"])
    assert (second["attempts"], second["reason"]) == (2, "refused_by_database")


def test_show_tells_reason_traceback_and_the_cdr_as_sent(product: Product) -> None:
    product.refuse_poison()
    product.enqueue([delivery(1, caller=POISON, target="שלום", price="1.50")])
    product.work()
    [job] = product.cdr("failed", "list", "--json").json
    shown = product.cdr("failed", "show", job["job_id"], "--json").json
    assert {name: shown[name] for name in job} == job
    assert "RefusedByDatabase" in shown["traceback"]
    [cdr] = shown["cdrs"]
    assert (cdr["account"], cdr["format"], cdr["fields"]["target"]) == ("default", "json", "שלום")
    for_people = product.cdr("failed", "show", job["job_id"]).out
    assert "23514" in for_people
    assert "Traceback" in for_people
    assert "שלום" in for_people


def test_what_is_told_of_a_refusal_has_no_signature_of_a_recording(
    product: Product, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    product.run("ALTER TABLE cdr.recordings ADD CONSTRAINT of_a_user CHECK (account = '')")
    product.enqueue([delivery(1, record="https://recordings.invalid/1.mp3?X-Amz-Signature=hush")])
    product.work()
    logged = [caplog.text, *capsys.readouterr()]
    [job] = product.cdr("failed", "list", "--json").json
    shown = product.cdr("failed", "show", job["job_id"], "--json").json
    assert "of_a_user" in job["error"]
    assert [text for text in (job["error"], shown["traceback"], *logged) if "hush" in text] == []


def test_a_job_that_is_not_there_cannot_be_shown(product: Product) -> None:
    assert product.cdr("failed", "show", "nothing") == (1, "", "cdr: there is no failed job nothing\n")


def test_everything_must_be_asked_for(product: Product) -> None:
    add_failed(product, 3)
    for verb in ("replay", "discard"):
        for arguments in ((), ("--limit", "1"), ("--dry-run",)):
            done = product.cdr("failed", verb, *arguments)
            assert (done.exit_code, done.out) == (2, "")
            assert "--all" in done.err
            assert done.err.count("\n") == 1
    assert product.redis.zcard(failed_key(CDRS)) == 3


@pytest.mark.parametrize(
    "arguments", [("--queue", "nope"), ("--since", "yesterday"), ("--rate", "0"), ("--limit", "x")]
)
def test_a_wrong_option_is_wrong_usage(product: Product, arguments: tuple[str, str]) -> None:
    done = product.cdr("failed", "replay", *arguments)
    assert (done.exit_code, done.out) == (2, "")


def test_a_dry_run_counts_and_changes_nothing(product: Product) -> None:
    add_failed(product, 3)
    before = contents(product)
    assert product.counted("failed", "replay", "--all", "--dry-run") == 3
    assert product.counted("failed", "discard", "--reason", "refused_by_database", "--limit", "2", "--dry-run") == 2
    assert contents(product) == before
    assert product.count("cdr.audit") == 0


def contents(product: Product) -> dict[bytes, bytes]:
    return {key: product.redis.dump(key) for key in product.redis.scan_iter()}


def test_nothing_found_is_done_and_zero(product: Product) -> None:
    assert product.counted("failed", "replay", "--all") == 0
    assert product.counted("failed", "discard", "--reason", "none") == 0
    assert product.cdr("failed", "list", "--json") == (0, "[]\n", "")


def test_filters_choose(product: Product) -> None:
    ids = add_failed(product, 4)
    others = add_failed(product, 2, RECORDINGS, reason="recording_gone", sqlstate=None)
    assert listed(product, "--queue", "recordings") == others
    assert listed(product, "--reason", "recording_gone") == others
    assert listed(product, "--call-id", f"{CALL}3") == ids[3:]
    assert listed(product, "--limit", "2") == ids[:2]
    assert (
        product.cdr("failed", "list", "--limit", "2").err == "only the first 2 are shown; a higher --limit shows more\n"
    )
    assert product.cdr("failed", "list", "--limit", "6").err == ""
    assert listed(product, "--since", "23h") == []
    assert listed(product, "--until", "23h") == ids + others
    failed_at = product.cdr("failed", "list", "--json").json[1]["failed_at"]
    assert listed(product, "--queue", "cdrs", "--until", failed_at) == ids[:1]


def listed(product: Product, *arguments: str) -> list[str]:
    return [job["job_id"] for job in product.cdr("failed", "list", "--json", *arguments).json]


def test_a_job_whose_data_is_gone_is_cleaned_up_and_not_counted(product: Product) -> None:
    ids = add_failed(product, 3)
    product.redis.delete(job_key(ids[1]))
    assert listed(product) == [ids[0], ids[2]]
    assert product.counted("failed", "replay", "--all", "--dry-run") == 2
    assert product.redis.zcard(failed_key(CDRS)) == 3
    assert product.counted("failed", "replay", "--all") == 2
    assert waiting(product) == [ids[0], ids[2]]
    assert product.redis.zcard(failed_key(CDRS)) == product.redis.zcard(index_key(CDRS)) == 0


def test_a_replay_killed_in_the_middle_is_finished_by_the_next(product: Product) -> None:
    ids = add_failed(product, 300)
    argv = [sys.executable, "-m", "cdr", "failed", "replay", "--all", "--rate", "20"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until(lambda: len(waiting(product)) >= 20)
        process.send_signal(signal.SIGKILL)
    moved = len(waiting(product))
    assert 20 <= moved < 300
    [(command, finished_at, affected)] = product.query("SELECT command, finished_at, affected FROM cdr.audit")
    assert (command, finished_at, 0 < affected <= moved) == ("failed replay", None, True)
    assert product.counted("failed", "replay", "--all") == 300 - moved
    assert waiting(product) == ids
    assert product.redis.zcard(failed_key(CDRS)) == product.redis.zcard(index_key(CDRS)) == 0


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_five_thousand_failed_jobs_go_back_in_the_order_in_which_they_failed(product: Product) -> None:
    ids = add_failed(product, 5000)
    product.redis.hset(job_key(ids[7]), "ended_at", "2026-01-01T00:00:00.000000Z")
    assert product.counted("failed", "replay", "--all") == 5000
    assert waiting(product) == ids
    assert product.redis.hmget(job_key(ids[7]), "status", "ended_at") == [b"queued", b""]


def test_jobs_that_fail_again_during_a_replay_are_not_replayed_for_ever(product: Product) -> None:
    ids = add_failed(product, 1200)

    def fail_again(_moved: int) -> None:
        for job_id in waiting(product):
            product.redis.lrem(queue_key(CDRS), 1, job_id)
            product.redis.zadd(failed_key(CDRS), {job_id: -1})
            note_failure(product.redis, CDRS, job_id, time.time())

    jobs = find_ids(product.redis, Filter())
    assert replay(product.redis, jobs, progress=fail_again) == 1200
    assert listed(product) == ids


def test_jobs_that_failed_in_one_instant_are_each_listed_once(product: Product) -> None:
    ids = add_failed(product, 1700)
    product.redis.delete(index_key(CDRS))
    note_failure(product.redis, CDRS, ids[0], 5.0)
    for job_id in ids[1:]:
        note_failure(product.redis, CDRS, job_id, 7.0)
    assert sorted(listed(product)) == ids


def test_what_failed_without_our_worker_is_listed_as_of_its_end(product: Product) -> None:
    ids = add_failed(product, 2)
    product.redis.delete(index_key(CDRS))
    product.redis.hset(job_key(ids[1]), "ended_at", "2026-01-01T00:00:00.000000Z")
    product.redis.hdel(job_key(ids[1]), "meta")
    job = product.cdr("failed", "list", "--json").json[0]
    assert (job["job_id"], job["failed_at"]) == (ids[1], "2026-01-01T00:00:00+00:00")
    assert (job["reason"], job["error"], job["attempts"]) == ("unknown", "RQ gives no reason", 1)


def test_a_job_that_stock_rq_put_back_is_not_listed(product: Product) -> None:
    ids = add_failed(product, 2)
    product.redis.zrem(failed_key(CDRS), ids[0])
    assert listed(product) == ids[1:]
    assert product.redis.zscore(index_key(CDRS), ids[0]) is None


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_a_job_that_stock_rq_put_back_is_neither_replayed_nor_discarded(product: Product, verb: str) -> None:
    ids = add_failed(product, 2)
    product.redis.zrem(failed_key(CDRS), ids[0])
    assert product.counted("failed", verb, "--all") == 1
    assert product.redis.exists(job_key(ids[0]))
    assert product.redis.zcard(index_key(CDRS)) == 0


def test_data_that_is_not_ours_is_listed_all_the_same(product: Product) -> None:
    ids = add_failed(product, 2)
    product.redis.hset(job_key(ids[0]), mapping={"data": b"\x80\x04pickle", "meta": b"\x80\x04pickle"})
    assert listed(product) == ids
    shown = product.cdr("failed", "show", ids[0], "--json").json
    assert (shown["call_ids"], shown["cdrs"], shown["traceback"]) == ([], [], None)


def test_discard_deletes_job_and_data(product: Product) -> None:
    ids = add_failed(product, 3)
    assert product.counted("failed", "discard", "--call-id", f"{CALL}1") == 1
    assert listed(product) == [ids[0], ids[2]]
    assert not product.redis.exists(job_key(ids[1]))
    assert product.query("SELECT command, selection, affected, finished_at IS NOT NULL FROM cdr.audit") == [
        ("failed discard", {"call_id": f"{CALL}1"}, 1, True)
    ]


def test_discard_leaves_a_job_that_somebody_has_replayed_meanwhile(product: Product) -> None:
    ids = add_failed(product, 1)
    found = list(find_ids(product.redis, Filter()))
    assert product.counted("failed", "replay", "--all") == 1
    assert discard(product.redis, found) == 0
    assert waiting(product) == ids
    assert product.redis.exists(job_key(ids[0]))


def test_a_rate_spreads_the_jobs_over_time(product: Product) -> None:
    add_failed(product, 6)
    started = time.monotonic()
    assert product.counted("failed", "replay", "--all", "--rate", "20") == 6
    assert 0.2 < time.monotonic() - started < 60


def test_a_replay_works_without_postgresql(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    add_failed(product, 2)
    monkeypatch.setenv("CDR_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    done = product.cdr("failed", "replay", "--all")
    assert (done.exit_code, done.out) == (0, "2\n")
    assert done.err.startswith("cdr: not noted in cdr.audit: ")
    assert done.err.count("not noted") == 1


def test_redis_that_is_away_is_one_line_and_exit_1(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDR_REDIS_URL", "redis://127.0.0.1:1/0")
    done = product.cdr("failed", "list")
    assert (done.exit_code, done.out) == (1, "")
    assert done.err.startswith("cdr: Redis: ")
    assert done.err.count("\n") == 1


def test_people_get_a_line_a_job_and_no_more_calls_than_fit(product: Product) -> None:
    add_failed(product, 1, error="first line\nsecond line")
    job = NewJob(CDRS, LOAD_CDRS, ([delivery(number) for number in range(5)],), "load 5", "cdrs-000000")
    product.redis.hset(job_key(job.job_id), "data", job.commands()[0][job.commands()[0].index("data") + 1])
    table = product.cdr("failed", "list").out
    assert f"{CALL}0, {CALL}1, {CALL}2 and 2 more" in table
    assert "first line" in table
    assert "second line" not in table


def test_a_job_that_loads_no_cdrs_shows_its_arguments(product: Product) -> None:
    [job_id] = add_failed(product, 1, RECORDINGS)
    product.redis.hset(job_key(job_id), "data", JobSerializer.dumps([FETCH_RECORDINGS, None, [1, [7, 8]], {}]))
    shown = product.cdr("failed", "show", job_id, "--json").json
    assert (shown["function"], shown["cdrs"], shown["arguments"]) == (FETCH_RECORDINGS, [], [1, [7, 8]])
    assert shown["call_ids"] == []


def test_deliveries_that_a_later_release_wrote_are_shown_as_they_are(product: Product) -> None:
    [job_id] = add_failed(product, 1)
    product.redis.hset(job_key(job_id), "data", JobSerializer.dumps([LOAD_CDRS, None, [2, [{"new": 1}]], {}]))
    shown = product.cdr("failed", "show", job_id, "--json").json
    assert (shown["call_ids"], shown["cdrs"]) == ([], [{"delivery": {"new": 1}}])


def test_jobs_that_somebody_else_takes_meanwhile_end_the_walk(product: Product) -> None:
    add_failed(product, 1200)
    found = list_failed(product.redis, Filter())
    first = next(found)
    product.redis.delete(failed_key(CDRS), index_key(CDRS))
    assert len({first.job_id, *(job.job_id for job in found)}) == 500


def test_postgresql_that_goes_away_during_a_replay_is_a_warning(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_failed(product, 1)

    def statement(package: str, name: str) -> bytes:
        return (
            b"SELECT 1/0"
            if name == "finish_audit"
            else resources.files(package).joinpath(f"sql/{name}.sql").read_bytes()
        )

    monkeypatch.setattr("cdr.audit.statement", statement)
    done = product.cdr("failed", "replay", "--all")
    assert (done.exit_code, done.out) == (0, "1\n")
    assert "not noted in cdr.audit: division by zero" in done.err


def test_a_user_whom_the_system_does_not_know_is_noted_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdr.audit.os.getuid", lambda: 4_000_000_000)
    assert actor().startswith("uid 4000000000@")


@pytest.mark.parametrize(
    ("arguments", "count", "sentence"),
    [
        (("replay", "--all", "--dry-run"), 1200, "1,200 failed jobs would be queued again\n"),
        (("replay", "--all"), 1200, "1,200 failed jobs were queued again\n"),
        (("discard", "--all", "--limit", "1", "--dry-run"), 1, "1 failed job would be deleted\n"),
        (("discard", "--reason", "none"), 0, "0 failed jobs were deleted\n"),
    ],
)
def test_people_are_told_in_a_sentence_where_scripts_get_a_count(
    product: Product, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], count: int, sentence: str
) -> None:
    add_failed(product, 1200)
    if count > 1 and "--dry-run" in arguments:
        with monkeypatch.context() as terminal:
            terminal.setattr("sys.stdout.isatty", lambda: True)
            assert product.cdr("failed", *arguments) == (0, sentence, "")
    assert product.cdr("failed", *arguments) == (0, f"{count}\n", sentence)
