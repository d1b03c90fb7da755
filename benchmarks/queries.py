"""What users ask of 10 million CDRs: each query timed beside count(*) of a day's rows, its plan judged by what it did.

The queries are those of docs/tables.md, and the statements of our own commands; the commands themselves are run as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import psycopg

from benchmarks import commands
from benchmarks.bench import Bench, Server
from benchmarks.big_table import BigTable, big_table
from benchmarks.failed_jobs import fail_jobs
from benchmarks.figures import Goal, Part, Sample, interleaved
from benchmarks.loaded import connected, one
from benchmarks.plans import Query, judge, seconds_of, shown
from common.postgres import statement
from common.redis_client import connect

FAILED_JOBS = 20_000
# How long what looks for a few rows may take beside COUNT. Half of either is the planning for all the months.
LOOKUP = 3.0
COUNT = "count(*) of a day's rows"
STARTED = "a command that does next to nothing"
_NO_FILTER = dict.fromkeys(("ids", "status", "account", "call_id", "since", "until"))


class Wanted(NamedTuple):
    """What one round looks for."""

    day: datetime
    number: str
    call_id: str
    chained_id: str
    recorded_id: str
    # Between which the ids of that day's recordings lie.
    after: int
    last: int


class Asked(NamedTuple):
    """A query as it is made for each round. `at_most` is how long it may take beside COUNT; None: as long as its rows need."""

    make: Callable[[Wanted], Query]
    at_most: float | None = None


def _day(text: str) -> Callable[[Wanted], Query]:
    return lambda wanted: Query(text, {"day": wanted.day, "next": wanted.day + timedelta(days=1)})


def _of(text: str) -> Callable[[Wanted], Query]:
    return lambda wanted: Query(text, wanted._asdict())


def _recordings(**values: Callable[[Wanted], Any]) -> Callable[[Wanted], Query]:
    def make(wanted: Wanted) -> Query:
        page = {"after": 0, "last": 2**62, "page_size": 200}
        return _ours("find_recordings", {**_NO_FILTER, **page, **{name: of(wanted) for name, of in values.items()}})

    return make


def _ours(name: str, values: dict[str, Any] | None = None) -> Query:
    return Query(statement("cdr", name).decode(), values)


_LAST_CALLS = "SELECT * FROM cdr.calls ORDER BY started_at DESC LIMIT 50"
_LAST_CDRS = "SELECT * FROM cdr.cdrs ORDER BY started_at DESC LIMIT 50"
_BY_DAY = " WHERE started_at >= %(day)s AND started_at < %(next)s"
QUERIES: dict[str, Asked] = {
    COUNT: Asked(_day(f"SELECT count(*) FROM cdr.cdrs{_BY_DAY}")),
    "cdr.calls, the last 50": Asked(_of(_LAST_CALLS), LOOKUP),
    "cdr.calls, a day by outcome": Asked(
        _day(f"SELECT outcome, count(*), sum(talk_seconds) FROM cdr.calls{_BY_DAY} GROUP BY outcome")
    ),
    "cdr.calls, a day by agent": Asked(
        _day(f"SELECT agent_code, agent_name, count(*), avg(ring_seconds) FROM cdr.calls{_BY_DAY} GROUP BY 1, 2")
    ),
    "cdr.calls by number": Asked(
        _of(
            "SELECT * FROM cdr.calls WHERE caller_e164 = %(number)s OR called_e164 = %(number)s"
            " ORDER BY started_at DESC LIMIT 50"
        ),
        LOOKUP,
    ),
    "cdr.calls by call id": Asked(
        _of(
            "SELECT * FROM cdr.calls WHERE call_key = coalesce("
            "(SELECT root_key FROM cdr.call_links WHERE call_key = cdr.call_key('default', %(chained_id)s)),"
            " cdr.call_key('default', %(chained_id)s))"
        ),
        LOOKUP,
    ),
    "cdr.calls and all its CDRs": Asked(
        _of(
            "SELECT cdrs.* FROM cdr.calls CROSS JOIN unnest(call_ids) AS id"
            " JOIN cdr.cdrs ON cdrs.call_key = cdr.call_key(calls.account, id)"
            " AND provider_time BETWEEN first_provider_time AND last_provider_time"
            " WHERE calls.call_key = cdr.call_key('default', %(chained_id)s)"
        ),
        LOOKUP,
    ),
    "cdr.cdrs, the last 50": Asked(_of(_LAST_CDRS), LOOKUP),
    "cdr.cdrs, a day": Asked(_day(f"SELECT * FROM cdr.cdrs{_BY_DAY} ORDER BY started_at LIMIT 1000")),
    "cdr.cdrs by number": Asked(
        _of(
            "SELECT * FROM cdr.cdrs WHERE caller_e164 = %(number)s OR called_e164 = %(number)s"
            " ORDER BY started_at DESC LIMIT 50"
        ),
        LOOKUP,
    ),
    "cdr.cdrs by call key": Asked(
        _of("SELECT * FROM cdr.cdrs WHERE call_key = cdr.call_key('default', %(call_id)s)"), LOOKUP
    ),
    "cdr.cdrs by call id": Asked(_of("SELECT * FROM cdr.cdrs WHERE call_id = %(call_id)s"), LOOKUP),
    "cdr.voicenter_cdr by call id": Asked(
        _of("SELECT * FROM cdr.voicenter_cdr WHERE ivruniqueid = %(call_id)s"), LOOKUP
    ),
    "cdr.voicenter_cdr, a day": Asked(
        lambda wanted: Query(
            "SELECT count(*), sum(duration) FROM cdr.voicenter_cdr WHERE time BETWEEN %(first)s AND %(last)s",
            {"first": int(wanted.day.timestamp()), "last": int(wanted.day.timestamp()) + 86_399},
        )
    ),
    "cdr.recordings of a CDR": Asked(
        _of(
            "SELECT recordings.* FROM cdr.cdrs JOIN cdr.recordings USING (identity, provider_time)"
            " WHERE cdrs.call_key = cdr.call_key('default', %(recorded_id)s)"
        ),
        LOOKUP,
    ),
    "cdr status": Asked(lambda _: _ours("read_load_state"), LOOKUP),
    "cdr recordings list": Asked(_recordings(), LOOKUP),
    "cdr recordings list --status refused": Asked(_recordings(status=lambda _: "refused"), LOOKUP),
    "cdr recordings list --call-id": Asked(_recordings(call_id=lambda wanted: wanted.recorded_id), LOOKUP),
    "cdr recordings list, a day": Asked(
        _recordings(
            since=lambda wanted: wanted.day,
            until=lambda wanted: wanted.day + timedelta(days=1),
            after=lambda wanted: wanted.after,
            last=lambda wanted: wanted.last,
        ),
        LOOKUP,
    ),
    "cdr recordings list, a day: where it lies": Asked(
        lambda wanted: _ours("recording_span", {"since": wanted.day, "until": wanted.day + timedelta(days=1)})
    ),
}


def measure(bench: Bench) -> Iterator[Part]:
    """Measure the queries, then the commands."""
    with ExitStack() as stack:
        table = stack.enter_context(big_table(bench))
        valkey = stack.enter_context(bench.valkey())
        with connected(table.server) as connection:
            yield _queries(bench, table, connection)
            wanted = _wanted(connection, 1)[0]
        with connect(valkey.url) as redis:
            failed = fail_jobs(redis, max(200, round(FAILED_JOBS * bench.scale)))
        yield _commands(bench, table, valkey, wanted, failed)
        yield _whole_lists(bench, table, valkey, wanted)


def _queries(bench: Bench, table: BigTable, connection: psycopg.Connection[Any]) -> Part:
    rounds = _wanted(connection, bench.rounds)
    plans: dict[str, str] = {}

    def ask(name: str, number: int) -> Sample:
        query = QUERIES[name].make(rounds[number])
        judged = judge(connection, query)
        plans[name] = shown(judged.plan)
        return {
            "ms": seconds_of(connection, query) * 1000,
            "scans": len(judged.scanned),
            "pages": judged.pages,
            "rows": judged.rows,
            "idle_rows": judged.idle_rows,
        }

    samples = interleaved(bench.rounds, {name: partial(ask, name) for name in QUERIES}, bench.tell)
    goals = [Goal(f"big tables read from end to end: {name}", "scans", name, at_most=0) for name in QUERIES]
    goals += [
        Goal(f"time beside {COUNT}: {name}", "ms", name, COUNT, at_most=asked.at_most)
        for name, asked in QUERIES.items()
        if asked.at_most is not None
    ]
    for name in {goal.of: None for goal in goals if not goal.is_met_by(goal.reached(samples).median)}:
        bench.tell(f"missed, {name}:\n{plans[name]}")
    about = (
        f"Queries over {table.cdrs:,} CDRs of two years, each round for another day, number and call; all rows fetched. Pages of"
        " 8 KiB that PostgreSQL looked at, and rows that it read and threw away, are of the plan that was run."
    )
    units = {"ms": "ms", "scans": "tables", "pages": "pages", "rows": "rows", "idle_rows": "rows thrown away"}
    return Part("queries", about, units, samples, goals)


def _wanted(connection: psycopg.Connection[Any], rounds: int) -> list[Wanted]:
    """Choose for each round a day, and of that day a number, a call, one of a chain and one with a recording."""
    newest: datetime = one(connection.cursor(), "SELECT date_trunc('day', max(started_at)) FROM cdr.calls")
    return [_wanted_of(connection, newest - timedelta(days=37 * (number + 1) % 700)) for number in range(rounds)]


def _wanted_of(connection: psycopg.Connection[Any], day: datetime) -> Wanted:
    span = {"day": day, "next": day + timedelta(days=1)}

    def first(column: str, condition: str) -> str:
        query = f"SELECT {column} FROM cdr.calls{_BY_DAY} AND {condition} ORDER BY started_at LIMIT 1"
        row = connection.execute(query.encode(), span).fetchone()
        return row[0] if row else "none"

    times = {"since": day, "until": day + timedelta(days=1)}
    after_and_last = connection.execute(statement("cdr", "recording_span"), times).fetchone() or (0, 0)
    return Wanted(
        day,
        first("caller_e164", "caller_e164 IS NOT NULL"),
        first("call_id", "leg_count = 1"),
        first("call_id", "cardinality(call_ids) > 1"),
        first("call_id", "recording_count > 0"),
        *after_and_last,
    )


def _commands(bench: Bench, table: BigTable, valkey: Server, wanted: Wanted, failed: str) -> Part:
    day = ["--since", wanted.day.isoformat(), "--until", (wanted.day + timedelta(days=1)).isoformat()]
    asked = {
        STARTED: ["accounts", "list", "--json"],
        "cdr status": ["status", "--json"],
        "cdr failed list": ["failed", "list"],
        "cdr failed list --since": ["failed", "list", "--since", "1h", "--limit", "200"],
        "cdr failed list --reason": ["failed", "list", "--reason", "not_loadable", "--limit", "200"],
        "cdr failed list --call-id": ["failed", "list", "--call-id", failed],
        "cdr recordings list": ["recordings", "list"],
        "cdr recordings list --call-id": ["recordings", "list", "--call-id", wanted.recorded_id],
        "cdr recordings list, a day": ["recordings", "list", "--limit", "200", *day],
        "cdr clock report, a day": ["clock", "report", *day],
    }
    contenders = {name: partial(_run, bench, table, valkey, arguments) for name, arguments in asked.items()}
    samples = interleaved(bench.rounds, contenders, bench.tell)
    about = "Commands over the same tables, and over some 20,000 failed jobs: time with the start of Python, most memory at once."
    return Part("queries, commands", about, _COMMAND_UNITS, samples, [])


def _whole_lists(bench: Bench, table: BigTable, valkey: Server, wanted: Wanted) -> Part:
    # All recordings of two years take ten minutes to print, and no more memory than those of a month may.
    month = ["--since", (wanted.day - timedelta(days=30)).isoformat(), "--until", wanted.day.isoformat()]
    asked = {
        "cdr failed list --limit 200": ["failed", "list", "--limit", "200", "--json"],
        "cdr failed list --json": ["failed", "list", "--json"],
        "cdr recordings list --limit 200": ["recordings", "list", "--limit", "200", "--json"],
        "cdr recordings list --json, a month": ["recordings", "list", "--json", *month],
        "cdr clock report": ["clock", "report"],
    }
    samples = {name: [_run(bench, table, valkey, arguments, 0)] for name, arguments in asked.items()}
    few, many = "cdr recordings list --limit 200", "cdr recordings list --json, a month"
    goals = [
        Goal("memory of a month's list of recordings beside 200", "memory", many, few, at_most=1.1),
        Goal(
            "memory of the whole list of failed jobs beside 200",
            "memory",
            "cdr failed list --json",
            "cdr failed list --limit 200",
            at_most=1.1,
        ),
    ]
    about = "Commands that read all there is, or a month of it, once each."
    return Part("queries, all rows", about, _COMMAND_UNITS, samples, goals)


_COMMAND_UNITS = {"seconds": "s", "memory": "MB at most", "printed": "KB"}


def _run(bench: Bench, table: BigTable, valkey: Server, arguments: list[str], _number: int) -> Sample:
    env = {"CDR_DATABASE_URL": table.server.url, "CDR_REDIS_URL": valkey.url}
    ran = commands.run(arguments, env, bench.folder)
    return {"seconds": ran.seconds, "memory": ran.peak_bytes / 1e6, "printed": ran.output_bytes / 1000}
