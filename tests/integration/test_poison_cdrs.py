"""One bad CDR costs one CDR, whatever is bad about it; one that is in doubt waits by itself and is given up in the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from command_line import Product, delivery, product
from loading import Loader, execute, leg, select
from loading import delivery as made_now
from msgspec.structs import replace

from common.delivery import Delivery, QuarantinedBody
from common.errors import DatabaseNotReady, DatabaseUnavailable
from common.job_queue import CDRS, KEEP_BODIES, LOAD_CDRS, NewJob, failed_key, queue_key, scheduled_key
from common.postgres import Database, Limits
from worker import bisection, jobs, load_cdrs, pipeline, put_off, quarantine
from worker.bisection import Failed
from worker.outbox import enqueue
from worker.scheduled_jobs import move_due_jobs

__all__ = ["product"]

SHORT = Limits(statement_seconds=0.5, lock_seconds=0.3)
BAD = "0500000666"


def raise_on(condition: str, sqlstate: str, table: str = "cdr.cdrs", event: str = "INSERT") -> str:
    """Return statements that make the database fail on some rows with a code of our choice."""
    return (
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF {condition} THEN RAISE EXCEPTION 'made to fail' USING ERRCODE = '{sqlstate}'; END IF; RETURN new; END $$;"
        f" CREATE TRIGGER fail BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION fail()"
    )


def sleep_on(condition: str) -> str:
    return (
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF {condition} THEN PERFORM pg_sleep(60); END IF; RETURN new; END $$;"
        " CREATE TRIGGER fail BEFORE INSERT ON cdr.cdrs FOR EACH ROW EXECUTE FUNCTION fail()"
    )


MEND = "DROP FUNCTION fail CASCADE"

REFUSALS = {
    "a check": (f"ALTER TABLE cdr.cdrs ADD CONSTRAINT c CHECK (caller_number <> '{BAD}')", {"caller": BAD}, "23514"),
    "a trigger that raises": (raise_on(f"new.caller_number = '{BAD}'", "P0001"), {"caller": BAD}, "P0001"),
    "a code of the user's own": (raise_on(f"new.caller_number = '{BAD}'", "ZZ999"), {"caller": BAD}, "ZZ999"),
    "a number too large for its column": (
        "DROP VIEW cdr.voicenter_cdr; ALTER TABLE cdr.cdrs ALTER price_agorot TYPE numeric(6,2)", {"price": 123456}, "22003",
    ),
    "a number too large for jsonb": ("SELECT", {"extra": Decimal("1E+200000")}, "22003"),
    "a text that is unique already": (
        "CREATE UNIQUE INDEX ON cdr.cdrs (provider_time, acd_queue_name)", {"queuename": "Sales"}, "23505",
    ),
    "a text too long for an index": ("CREATE INDEX ON cdr.cdrs (agent_name)",
                                     {"representative_name": "".join(chr(0x5D0 + n % 27) + str(n) for n in range(9000))},
                                     "54000"),
    "a value that the driver cannot send": ("SELECT", {"queuename": "a\0b"}, None),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_one_refused_cdr_fails_alone_with_its_reason_and_traceback(product: Product, what: str) -> None:
    statement, fields, sqlstate = REFUSALS[what]
    product.run(statement)
    first = delivery(100, queuename="Sales") if "unique" in what else delivery(100)
    product.enqueue([first])
    product.work()
    product.enqueue([delivery(number, **(fields if number == 31 else {})) for number in range(100)])
    product.work()

    [job] = product.cdr("failed", "list", "--json").json
    assert product.count("cdr.cdrs") == 100
    assert (job["reason"], job["sqlstate"]) == ("refused_by_database", sqlstate)
    shown = product.cdr("failed", "show", job["job_id"])
    assert "Traceback" in shown.out
    assert "20231114221320call31" in shown.out


def test_several_bad_ones_fail_each_alone(product: Product) -> None:
    product.refuse_poison()
    bad = {3, 4, 77, 150, 199}
    product.enqueue([delivery(number, caller=BAD if number in bad else "1") for number in range(200)])
    product.work()
    calls = {job["call_ids"][0] for job in product.cdr("failed", "list", "--json").json}
    assert calls == {f"20231114221320call{number}" for number in bad}
    assert product.count("cdr.cdrs") == 195


def test_a_batch_that_is_all_bad_fails_one_by_one(product: Product) -> None:
    product.refuse_poison()
    product.enqueue([delivery(number, caller=BAD) for number in range(20)])
    product.work()
    assert product.redis.zcard(failed_key(CDRS)) == 20
    product.allow_poison()
    product.cdr("failed", "replay", "--all")
    product.work()
    assert (product.count("cdr.cdrs"), product.redis.zcard(failed_key(CDRS))) == (20, 0)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Count the merges: how many CDRs each of them was given."""
    merges: list[int] = []
    load_together = load_cdrs._load_together

    def count(cursor: Any, records: list[Any], knowledge: Any) -> None:
        merges.append(len(records))
        load_together(cursor, records, knowledge)

    with monkeypatch.context() as patch:
        patch.setattr(load_cdrs, "_load_together", count)
        yield merges


def test_one_bad_cdr_in_a_thousand_costs_twenty_merges_more(
    loader: Loader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(database_url, "ALTER TABLE cdr.cdrs ADD CONSTRAINT of_a_user CHECK (call_id <> 'c617')")
    with counted(monkeypatch) as merges:
        loader.load_fields(*(leg(f"c{number}") for number in range(1000)))
    assert len(merges) <= 1 + 20


def test_a_bug_of_ours_in_a_stage_costs_its_cdr(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    def stage(cdr: Any, _account: Any) -> None:
        if cdr.caller_number == BAD:
            raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr("worker.pipeline.STAGES", (*pipeline.STAGES, stage))
    product.enqueue([delivery(number, caller=BAD if number == 5 else "1") for number in range(20)])
    product.work()
    assert_only_failure(product, 19, "not_loadable", "ZeroDivisionError: a bug of ours")


def test_a_bug_of_ours_in_a_row_costs_its_cdr(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    make_row = load_cdrs.make_row

    def broken(cdr: Any, *arguments: Any) -> Any:
        if cdr.caller_number == BAD:
            raise ZeroDivisionError("a bug of ours")
        return make_row(cdr, *arguments)

    monkeypatch.setattr(load_cdrs, "make_row", broken)
    product.enqueue([delivery(number, caller=BAD if number == 5 else "1") for number in range(20)])
    product.work()
    assert_only_failure(product, 19, "not_loadable", "ZeroDivisionError: a bug of ours")


def assert_only_failure(product: Product, loaded: int, reason: str, words: str) -> None:
    [job] = product.cdr("failed", "list", "--json").json
    assert (product.count("cdr.cdrs"), job["reason"]) == (loaded, reason)
    assert words in product.cdr("failed", "show", job["job_id"], "--json").json["traceback"]


def test_an_item_that_is_no_delivery_costs_itself(product: Product) -> None:
    enqueue(product.redis, [NewJob(CDRS, LOAD_CDRS, ([delivery(1), ["of", "nobody"], delivery(2)],), "load")])
    product.work()
    assert_only_failure(product, 2, "not_loadable", "the payload is not one of ours")


def scheduled(product: Product) -> int:
    return int(product.redis.zcard(scheduled_key(CDRS)))


def failures(product: Product) -> int:
    return int(product.redis.zcard(failed_key(CDRS)))


def work_when_due(product: Product) -> None:
    """Let as much time pass as a job that was put off has to wait, and run it."""
    later = put_off.DELAYS_SECONDS[-1] + 1
    for job_id in product.redis.zrange(scheduled_key(CDRS), 0, -1):
        product.redis.zincrby(scheduled_key(CDRS), -later, job_id)
    move_due_jobs(product.redis)
    product.work()


IN_DOUBT = ["03000", "25P02", "42501", "42P01", "53200", "57014", "55P03", "58030", "XX000", "XX001", "XX002"]


@pytest.mark.parametrize("sqlstate", IN_DOUBT)
def test_a_cdr_in_doubt_waits_by_itself_and_holds_up_nobody(
    product: Product, monkeypatch: pytest.MonkeyPatch, sqlstate: str
) -> None:
    product.run(raise_on(f"new.caller_number = '{BAD}'", sqlstate))
    product.enqueue([delivery(number, caller=BAD if number == 31 else "1") for number in range(50)])
    product.work()
    assert (product.count("cdr.cdrs"), scheduled(product), failures(product)) == (49, 1, 0)

    product.run(MEND)
    work_when_due(product)
    assert (product.count("cdr.cdrs"), scheduled(product), failures(product)) == (50, 0, 0)


@pytest.mark.parametrize("sqlstate", [*IN_DOUBT, "08006", "25006", "40001", "40P01", "53100", "53300", "57P03"])
def test_what_everybody_meets_is_waited_for_as_a_whole(product: Product, sqlstate: str) -> None:
    product.run(raise_on("true", sqlstate))
    product.enqueue([delivery(number) for number in range(20)])
    worker = product.worker()
    worker.work(burst=True, max_jobs=2, logging_level="CRITICAL")
    assert (product.redis.llen(queue_key(CDRS)), scheduled(product), failures(product)) == (1, 0, 0)

    product.run(MEND)
    product.work()
    assert (product.count("cdr.cdrs"), failures(product)) == (20, 0)


# What is written when a delivery of a CDR that has a row arrives: the event and the table, and which delivery meets it.
MERGES = {
    "deliveries are kept": ("INSERT", "cdr.deliveries", 2),
    "rows are replaced": ("UPDATE", "cdr.cdrs", 2),
    "a delivery comes to make no difference": ("UPDATE", "cdr.deliveries", 3),
}


def again(number: int, delivery_number: int, **fields: Any) -> Delivery:
    """Make a further delivery of a CDR, the second, the third and so on."""
    first = delivery(number, **fields)
    delivery_id = f"{1000 * delivery_number + number:032x}"
    return replace(first, delivery_id=delivery_id, received_at_us=first.received_at_us + delivery_number)


EACH_DECISION = ["42501", "55P03", "57014"]
EVERY_MERGE = [("deliveries are kept", code) for code in IN_DOUBT] + [
    (what, code) for what in MERGES for code in EACH_DECISION if what != "deliveries are kept"
]


@pytest.mark.parametrize(("what", "sqlstate"), EVERY_MERGE)
def test_what_every_merge_meets_is_waited_for_as_a_whole(product: Product, what: str, sqlstate: str) -> None:
    event, table, met_by = MERGES[what]
    for before in range(1, met_by):
        product.enqueue([again(number, before) for number in range(20)])
        product.work()
    product.run(raise_on("true", sqlstate, table, event))
    product.enqueue([again(number, met_by) for number in range(20)])
    product.worker().work(burst=True, max_jobs=2, logging_level="CRITICAL")
    assert (product.redis.llen(queue_key(CDRS)), scheduled(product), failures(product)) == (1, 0, 0)

    product.run(MEND)
    product.work()
    assert product.query("SELECT DISTINCT delivery_count FROM cdr.cdrs") == [(met_by,)]
    assert failures(product) == 0


@pytest.mark.parametrize("sqlstate", EACH_DECISION)
def test_a_merge_in_doubt_waits_by_itself_while_others_merge(product: Product, sqlstate: str) -> None:
    product.enqueue([delivery(number) for number in range(20)])
    product.work()
    product.run(raise_on("new.fields->>'did' = '666'", sqlstate, "cdr.deliveries"))
    product.enqueue([again(number, 2, **({"did": "666"} if number == 7 else {})) for number in range(20)])
    product.work()
    assert (scheduled(product), failures(product)) == (1, 0)
    assert product.query("SELECT count(*) FROM cdr.cdrs WHERE delivery_count = 2") == [(19,)]


@pytest.mark.parametrize("sqlstate", EACH_DECISION)
def test_what_every_recording_meets_is_waited_for_as_a_whole(product: Product, sqlstate: str) -> None:
    product.run(raise_on("true", sqlstate, "cdr.recordings"))
    product.enqueue([delivery(number, record=f"https://records.invalid/{number}") for number in range(20)])
    product.worker().work(burst=True, max_jobs=2, logging_level="CRITICAL")
    assert (product.redis.llen(queue_key(CDRS)), scheduled(product), failures(product)) == (1, 0, 0)


def test_a_cdr_that_stays_in_doubt_is_set_aside_after_six_tries_and_after_a_replay_has_six_more(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.run(raise_on(f"new.caller_number = '{BAD}'", "XX000"))
    product.enqueue([delivery(1), delivery(2, caller=BAD)])
    product.work()
    for _ in range(4):
        work_when_due(product)
    assert (scheduled(product), failures(product)) == (1, 0)
    work_when_due(product)
    assert scheduled(product) == 0
    assert_only_failure(product, 1, "refused_by_database", "made to fail")

    product.cdr("failed", "replay", "--all")
    product.work()
    assert (scheduled(product), failures(product)) == (1, 0)


def test_deliveries_in_doubt_that_came_together_are_given_up_too(product: Product) -> None:
    product.run(raise_on(f"new.caller_number = '{BAD}'", "XX000"))
    product.enqueue([delivery(2, caller=BAD), again(2, 2, caller=BAD)])
    product.work()
    assert (scheduled(product), failures(product)) == (2, 0)
    for _ in range(6):
        work_when_due(product)
    assert (scheduled(product), failures(product)) == (0, 2)


def test_what_is_held_is_tried_for_ever(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    product.run(raise_on(f"new.caller_number = '{BAD}'", "55P03"))
    product.enqueue([delivery(2, caller=BAD)])
    product.work()
    for _ in range(12):
        work_when_due(product)
    assert (scheduled(product), failures(product)) == (1, 0)


def test_small_jobs_that_are_loaded_together_do_not_wait_for_one_in_doubt(product: Product) -> None:
    product.run(raise_on(f"new.caller_number = '{BAD}'", "57014"))
    product.enqueue(*([delivery(number, caller=BAD if number == 3 else "1")] for number in range(8)))
    product.work()
    assert (product.count("cdr.cdrs"), scheduled(product), failures(product)) == (7, 1, 0)


@pytest.fixture
def hasty(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> Loader:
    """Give a loader that waits for less than a second at a time."""
    monkeypatch.setattr(load_cdrs, "IN_DOUBT", SHORT)
    with loader.database.transaction() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', '1s', false), set_config('lock_timeout', '500ms', false)"
        )
    return loader


def calls_of(failed: list[Failed]) -> list[str]:
    return [item.fields["ivruniqueid"] for each in failed for item in each.items]


def test_a_cdr_on_which_a_trigger_hangs_is_found_in_eleven_waits(
    hasty: Loader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(database_url, sleep_on("new.call_id = 'c617'"))
    with counted(monkeypatch) as merges:
        not_loaded = hasty.try_to_load(made_now(leg(f"c{number}")) for number in range(1000))
    assert (calls_of(not_loaded.held), not_loaded.refused) == (["c617"], [])
    # Those that load, those that hang, and after each of these a control CDR, which is loaded and then merged into twice.
    assert len(merges) <= 1 + 20 + 3 * 11
    assert len(select(database_url, "SELECT FROM cdr.cdrs")) == 999


def test_a_database_that_hangs_on_everything_is_waited_for(hasty: Loader, database_url: str) -> None:
    execute(database_url, sleep_on("true"))
    with pytest.raises(DatabaseUnavailable):
        hasty.try_to_load(made_now(leg(f"c{number}")) for number in range(100))


def test_a_month_that_hangs_is_waited_for(hasty: Loader, database_url: str) -> None:
    execute(database_url, sleep_on(f"new.provider_time > '{2000}-01-01'"))
    with pytest.raises(DatabaseUnavailable):
        hasty.try_to_load([made_now(leg("a"))])
    assert hasty.load([made_now(leg("a", time=None))]) == []


def test_when_too_much_hangs_the_rest_waits_for_a_turn_of_its_own(
    hasty: Loader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bisection, "MAX_DOUBTS", 4)
    execute(database_url, sleep_on("new.account = 'acme'"))
    with counted(monkeypatch) as merges:
        not_loaded = hasty.try_to_load(made_now(leg(f"c{number}")) for number in range(64))
    assert sorted(calls_of(not_loaded.held)) == sorted(f"c{number}" for number in range(64))
    assert len(merges) <= 4 + 3 * 4


def test_parts_that_wait_for_their_turn_are_jobs_and_load_in_the_end(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bisection, "MAX_DOUBTS", 2)
    product.run(raise_on("new.account = 'default'", "57014"))
    product.enqueue([delivery(number) for number in range(32)])
    product.work()
    assert (product.count("cdr.cdrs"), failures(product)) == (0, 0)
    assert 2 <= scheduled(product) < 32
    product.run(MEND)
    work_when_due(product)
    assert (product.count("cdr.cdrs"), scheduled(product), failures(product)) == (32, 0, 0)


def test_a_row_that_somebody_has_locked_holds_up_its_own_cdr_only(hasty: Loader, database_url: str) -> None:
    hasty.load([made_now(leg("known"))])
    batch = [*(made_now(leg(f"c{number}")) for number in range(10)), made_now(leg("known", did="1"), received=1)]
    with psycopg.connect(database_url) as somebody:
        somebody.execute("SELECT FROM cdr.cdrs WHERE call_id = 'known' FOR UPDATE")
        not_loaded = hasty.try_to_load(batch)
    assert (calls_of(not_loaded.held), not_loaded.refused) == (["known"], [])
    assert len(select(database_url, "SELECT FROM cdr.cdrs")) == 11


def test_a_table_that_somebody_has_locked_is_waited_for(hasty: Loader, database_url: str) -> None:
    with psycopg.connect(database_url) as somebody:
        somebody.execute("LOCK TABLE cdr.cdrs IN SHARE MODE")
        with pytest.raises(DatabaseUnavailable):
            hasty.try_to_load([made_now(leg("a")), made_now(leg("b"))])


def test_two_transactions_that_wait_for_each_other_both_end_in_rows(database_url: str) -> None:
    loader = Loader(database_url)
    loader.load([made_now(leg("a")), made_now(leg("b"))])
    [first, second] = select(database_url, "SELECT identity, call_id FROM cdr.cdrs ORDER BY identity")
    with psycopg.connect(database_url) as somebody:
        somebody.execute("SELECT FROM cdr.cdrs WHERE identity = %s FOR UPDATE", [second["identity"]])
        work = deadlocked(loader, first["call_id"], second["call_id"], somebody, first["identity"])
        loader.load(work)
    loader.database.close()
    assert [row["delivery_count"] for row in select(database_url, "SELECT delivery_count FROM cdr.cdrs")] == [2, 2]


def deadlocked(loader: Loader, first: str, second: str, somebody: Any, identity: bytes) -> list[Any]:
    """Let a load wait for somebody who waits for it, until PostgreSQL ends one of them; return what was to be loaded."""
    batch = [made_now(leg(call_id, did="1"), received=1) for call_id in (first, second)]
    with loader.database.transaction() as cursor:
        cursor.execute("SELECT set_config('deadlock_timeout', '100ms', false)")
        [pid] = cursor.execute("SELECT pg_backend_pid()").fetchone() or ()
    somebody.execute("SET deadlock_timeout = '10min'")
    ended: list[BaseException] = []

    def load() -> None:
        try:
            loader.load(batch)
        except DatabaseUnavailable as error:
            ended.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    while not somebody.execute(
        "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'", [pid]
    ).fetchall():
        pass
    somebody.execute("SELECT FROM cdr.cdrs WHERE identity = %s FOR UPDATE", [identity])
    thread.join()
    somebody.rollback()
    assert [error.sqlstate for error in ended] == ["40P01"]
    return batch


def body(number: int, **values: Any) -> QuarantinedBody:
    usual = {"account": "acme", "format": "json", "reason": "unreadable", "error": "why", "headers": {}}
    return QuarantinedBody(received_at_us=number, body=b"%d" % number, **(usual | values))


def test_one_body_that_the_database_refuses_does_not_stop_the_others(product: Product) -> None:
    bodies = [body(number, account="a\0b" if number == 5 else "acme") for number in range(20)]
    enqueue(product.redis, [NewJob(CDRS, KEEP_BODIES, (bodies,), "keep")])
    product.work()
    [job] = product.cdr("failed", "list", "--json").json
    assert (product.count("cdr.quarantine"), job["reason"]) == (19, "refused_by_database")
    assert "Traceback" in product.cdr("failed", "show", job["job_id"]).out


def test_one_body_in_doubt_waits_by_itself(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    product.run(raise_on("new.body = '5'", "53200", "cdr.quarantine"))
    enqueue(product.redis, [NewJob(CDRS, KEEP_BODIES, ([body(number) for number in range(20)],), "keep")])
    product.work()
    assert (product.count("cdr.quarantine"), scheduled(product), failures(product)) == (19, 1, 0)
    product.run(MEND)
    work_when_due(product)
    assert (product.count("cdr.quarantine"), scheduled(product), failures(product)) == (20, 0, 0)


def test_bodies_that_can_nowhere_be_kept_are_waited_for(database_url: str) -> None:
    execute(database_url, "ALTER TABLE cdr.quarantine RENAME TO away")
    database = Database(database_url, "test")
    with pytest.raises(DatabaseNotReady):
        quarantine.keep(database, [body(1), body(2)])
    database.close()


def test_a_bug_of_ours_in_a_body_costs_that_body(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = quarantine._columns

    def broken(one: QuarantinedBody) -> dict[str, object]:
        if one.body == b"5":
            raise ZeroDivisionError("a bug of ours")
        return columns(one)

    monkeypatch.setattr(quarantine, "_columns", broken)
    database = Database(database_url, "test")
    not_kept = quarantine.keep(database, [body(number) for number in range(9)])
    database.close()
    assert [each.items for each in not_kept.refused] == [[body(5)]]
    assert len(select(database_url, "SELECT FROM cdr.quarantine")) == 8


def test_an_item_that_is_no_body_costs_itself(product: Product) -> None:
    enqueue(product.redis, [NewJob(CDRS, KEEP_BODIES, ([body(1), "of nobody"],), "keep")])
    product.work()
    assert (product.count("cdr.quarantine"), failures(product)) == (1, 1)


def test_the_control_leaves_nothing(loader: Loader, database_url: str) -> None:
    load_cdrs.check_database(loader.database, loader.knowledge, 1_790_000_000)
    tables = ("cdrs", "deliveries", "recordings", "outbox")
    assert [len(select(database_url, f"SELECT FROM cdr.{table}")) for table in tables] == [0, 0, 0, 0]


def test_a_batch_that_runs_again_while_a_part_is_put_off_counts_once(product: Product) -> None:
    product.run(raise_on(f"new.caller_number = '{BAD}'", "57014"))
    batch = [delivery(1), delivery(2, caller=BAD)]
    for _ in range(2):
        product.enqueue(batch)
        product.work()
    product.run(MEND)
    for _ in range(2):
        jobs.load_cdrs(1, [[*_fields(each)] for each in batch])
    assert product.query("SELECT delivery_count FROM cdr.cdrs") == [(1,), (1,)]


def _fields(each: Any) -> list[Any]:
    return [each.delivery_id, each.place, each.received_at_us, each.account, each.format, each.fields, list(each.notes)]
