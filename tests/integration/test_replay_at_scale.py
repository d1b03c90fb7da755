"""Hundreds of thousands of failed jobs are replayed in constant memory, at the rate asked for, and resumed after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import zlib
from typing import Any

import pytest
from command_line import Product, delivery, product
from own_postgres import until

from cdr import audit
from common.failed_index import index_key
from common.job_queue import CDRS, LOAD_CDRS, NewJob, failed_key, job_key, queue_key

__all__ = ["product"]

# KEYS: the failed registry, its index. ARGV: how many, the first number, the job's data, its meta. Makes failed jobs on
# the server, each of another CDR: there would be no time to send so many.
MAKE_FAILED = """
for i = ARGV[2], ARGV[2] + ARGV[1] - 1 do
    local id = string.format('job-%07d', i)
    local data = string.gsub(string.gsub(ARGV[3], 'NUMBER', i), 'UUID', string.format('%032x', i))
    redis.call('HSET', 'rq:job:' .. id, 'data', data, 'meta', ARGV[4], 'status', 'failed',
               'origin', 'cdrs', 'created_at', '2026-01-01T00:00:00.000000Z', 'timeout', -1, 'cdrs', 1)
    redis.call('ZADD', KEYS[1], -1, id)
    redis.call('ZADD', KEYS[2], 1700000000 + i, id)
end
"""

# Runs a command as `cdr` does and says how much memory its process took at most, in KiB.
MEASURED = """
import resource, sys
from cdr.main import main
sys.argv[0] = "cdr"
try:
    main()
finally:
    sys.stderr.write(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\\n")
"""


def make_failed(product: Product, count: int, first: int = 0, reason: str = "refused_by_database") -> None:
    job = NewJob(CDRS, LOAD_CDRS, ([delivery(0, ivruniqueid="NUMBER", queuename="x" * 200)],), "load 1", "template")
    fields = job.commands()[0][2:]
    data = fields[fields.index("data") + 1]
    data = zlib.decompress(data) if data[:1] == b"x" else data
    # Each delivery is one of its own.
    data = data.replace(b"0" * 32, b"UUID")
    meta = json.dumps({"reason": reason, "sqlstate": "23514", "error": "no", "failed_at": 0, "attempts": 1})
    script = product.redis.register_script(MAKE_FAILED)
    for start in range(first, first + count, 5000):
        script(keys=[failed_key(CDRS), index_key(CDRS)], args=[min(5000, first + count - start), start, data, meta])


def replaying(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MEASURED, "failed", "replay", "--json", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def replay(*arguments: str) -> tuple[int, int]:
    """Replay in a process of its own; return how many it says it replayed, and the most memory it took, in KiB."""
    with replaying(*arguments) as process:
        out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return int(json.loads(out)["count"]), int(err.rpartition("peak ")[2])


def waiting(product: Product) -> int:
    return int(product.redis.llen(queue_key(CDRS)))


@pytest.mark.timeout(1200)
def test_350_000_jobs_take_no_more_memory_than_20_000(product: Product) -> None:
    make_failed(product, 20_000)
    few = replay("--all")
    product.redis.flushall()
    make_failed(product, 350_000)
    many = replay("--all")
    assert (few[0], many[0], waiting(product)) == (20_000, 350_000, 350_000)
    assert many[1] < 1.1 * few[1]


def test_a_replay_killed_in_the_middle_loses_and_doubles_nothing(product: Product) -> None:
    make_failed(product, 20_000)
    # At this rate it takes most of a minute, so that it is in the middle however late this process comes to look.
    with replaying("--all", "--rate", "400") as process:
        until(lambda: waiting(product) >= 1000)
        process.send_signal(signal.SIGKILL)
    moved = waiting(product)
    assert 1000 <= moved < 20_000
    assert moved + product.redis.zcard(failed_key(CDRS)) == 20_000

    assert replay("--all")[0] == 20_000 - moved
    queued = [job_id.decode() for job_id in product.redis.lrange(queue_key(CDRS), 0, -1)]
    assert queued == [f"job-{number:07d}" for number in range(20_000)]
    assert product.redis.zcard(failed_key(CDRS)) == product.redis.zcard(index_key(CDRS)) == 0
    entries = product.query("SELECT affected, finished_at IS NOT NULL FROM cdr.audit ORDER BY audit_id")
    assert entries[1] == (20_000 - moved, True)
    assert entries[0][1] is False
    # The last that it told before it was killed.
    assert 0 < entries[0][0] <= moved


def test_what_is_replayed_is_loaded_once_though_the_replay_is_killed(product: Product) -> None:
    make_failed(product, 2000)
    with replaying("--all", "--rate", "1000") as process:
        until(lambda: waiting(product) >= 300)
        product.work()
        process.send_signal(signal.SIGKILL)
    product.work()
    replay("--all")
    product.work()
    counts = product.query("SELECT count(*), count(DISTINCT call_id), max(delivery_count) FROM cdr.cdrs")
    assert counts == [(2000, 2000, 1)]


def test_a_rate_is_kept_in_every_window(product: Product) -> None:
    rate, chunk = 200, 20
    make_failed(product, 700)
    seen: list[tuple[float, int, float]] = []
    with replaying("--all", "--rate", str(rate)) as process:
        while process.poll() is None:
            seen.append((time.monotonic(), waiting(product), time.monotonic()))
            time.sleep(0.02)
    assert waiting(product) == 700
    # From before the first count until after the last, so that no window is taken for shorter than it was.
    windows = [
        (more - few, ends - begins) for place, (begins, few, _) in enumerate(seen) for _, more, ends in seen[place:]
    ]
    assert max(moved for moved, _ in windows) > 5 * chunk
    assert all(moved <= rate * seconds + chunk for moved, seconds in windows)


FILTERS = [
    ("--reason", "not_loadable"),
    ("--call-id", "1234"),
    ("--since", "2023-11-14T22:30:00Z"),
    ("--until", "2023-11-14T22:30:00Z", "--queue", "cdrs"),
    ("--reason", "not_loadable", "--since", "2023-11-14T22:50:00Z"),
    ("--all", "--limit", "777"),
]


@pytest.mark.parametrize("arguments", FILTERS)
def test_a_dry_run_counts_exactly_what_a_replay_then_moves(product: Product, arguments: tuple[str, ...]) -> None:
    make_failed(product, 2000)
    make_failed(product, 1000, first=2000, reason="not_loadable")
    told = product.counted("failed", "replay", *arguments, "--dry-run")
    assert (waiting(product), 0 < told < 3000) == (0, True)
    assert product.counted("failed", "replay", *arguments) == told == waiting(product)


def test_the_audit_tells_who_what_and_how_many(product: Product) -> None:
    make_failed(product, 30)
    product.cdr("failed", "replay", "--reason", "refused_by_database", "--limit", "20")
    [entry] = product.query("SELECT actor, command, selection, affected, finished_at >= started_at FROM cdr.audit")
    assert entry == (audit.actor(), "failed replay", {"reason": "refused_by_database", "limit": 20}, 20, True)


def test_an_audit_that_cannot_be_written_is_one_warning_while_it_runs(
    product: Product, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PROGRESS_SECONDS", 0)
    with audit.audited("test", {}) as tell:
        product.run("ALTER TABLE cdr.audit RENAME TO away")
        for affected in range(5):
            tell(affected)
        product.run("ALTER TABLE cdr.away RENAME TO audit")
    assert capsys.readouterr().err.count("not noted in cdr.audit") == 1
    assert product.query("SELECT affected, finished_at IS NOT NULL FROM cdr.audit") == [(4, True)]


BROKEN: dict[str, dict[str, Any]] = {
    "data that is deep": {"data": b"[" * 100_000},
    "data that is no JSON": {"data": b"\xff\xfe"},
    "data that is cut off": {"data": zlib.compress(b"x" * 5000)[:20]},
    "data that is empty": {"data": b""},
    "meta that is deep": {"meta": b"[" * 100_000},
    "meta that is a list": {"meta": b"[1]"},
    "meta of other types": {"meta": b'{"attempts": "many", "sqlstate": 5, "error": [1], "reason": null}'},
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_job_whose_content_is_broken_is_listed_shown_and_replayed(product: Product, what: str) -> None:
    make_failed(product, 3)
    product.redis.hset(job_key("job-0000001"), mapping=BROKEN[what])
    product.redis.xadd("rq:results:job-0000001", {"type": "2", "exc_string": "no base64"})
    assert len(product.cdr("failed", "list", "--json").json) == 3
    assert product.cdr("failed", "list").exit_code == 0
    assert product.cdr("failed", "show", "job-0000001").exit_code == 0
    assert product.counted("failed", "replay", "--all") == 3


def test_what_is_no_job_does_not_hide_the_others(product: Product) -> None:
    make_failed(product, 3)
    product.redis.delete(job_key("job-0000001"))
    product.redis.rpush(job_key("job-0000001"), "a list")
    product.redis.zadd(failed_key(CDRS), {b"\xff\xfe": -1})
    product.redis.zadd(index_key(CDRS), {b"\xff\xfe": 1})
    listed = product.cdr("failed", "list", "--json").json
    assert [job["job_id"] for job in listed] == ["job-0000000", "job-0000001", "job-0000002"]
    assert listed[1]["call_ids"] == []
