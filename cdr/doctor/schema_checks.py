"""Checks of the schema `cdr`: a CDR can be inserted, has a partition, and what follows it is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from cdr.doctor.examine import Section
from cdr.doctor.finding import Finding, info, ok, problem, warning
from cdr.doctor.postgres_checks import Server, opened_server
from cdr.doctor.time_rule import time_rule_finding
from common.errors import DatabaseUnavailable
from common.postgres import statement

LONG_WAIT_SECONDS = 60
SCHEDULER_SECONDS = 60
# The scheduler moves them every hour, so that those of two rounds ago are there because it does not.
LONG_IN_DEFAULT_PARTITION_SECONDS = 2 * 3600 + 600
_COUNTED_UP_TO = 10_000


class _Undone(Exception):
    """Rolls a trial back."""


@contextmanager
def _opened() -> Iterator[Server | Finding]:
    try:
        with opened_server() as server:
            if isinstance(server, Server) and server.row("SELECT to_regclass('cdr.cdrs')") == (None,):
                yield info("not checked: see postgresql.migrations")
            else:
                yield server
    except DatabaseUnavailable:
        yield info("not checked: see postgresql.reachable")


def _column(server: Server, name: str) -> list[str]:
    with server.asking() as cursor:
        return [row[0] for row in cursor.execute(statement("cdr", name))]


def _privileges(server: Server) -> Finding:
    if lacking := _column(server, "missing_privileges"):
        return problem(f"the role lacks {', '.join(lacking)}", "GRANT it, or use the role that ran cdr migrate")
    [owner] = server.row("SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'cdr.cdrs'::regclass")
    if not owner:
        return warning(
            "the role does not own cdr.cdrs: with it the scheduler cannot make partitions",
            "use the role that ran cdr migrate for cdr scheduler",
        )
    return ok("the role may do all that the product does")


def _insert(server: Server) -> Finding:
    if server.is_read_only:
        return info("not tried: see postgresql.writable")
    if _column(server, "missing_privileges"):
        return info("not tried: see schema.privileges")
    with suppress(_Undone), server.asking() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE tried (LIKE cdr.cdrs) ON COMMIT DROP")
        cursor.execute(statement("cdr", "try_insert"))
        raise _Undone
    return ok("a CDR was inserted, and rolled back")


def _partitions(server: Server) -> Finding:
    if lacking := _column(server, "missing_partitions"):
        return warning(
            f"missing: {', '.join(lacking)}: their rows go to the default partition",
            "run: cdr migrate; cdr scheduler makes them every hour",
        )
    return ok("those of this and the next month are there")


def _default_partition(server: Server) -> Finding:
    rows, misplaced, longest = server.row(statement("cdr", "read_default_partition"))
    if not misplaced:
        return ok(f"{rows:,} CDRs, none of a month that has or could have its own")
    found = f"{misplaced:,}{'+' if rows >= _COUNTED_UP_TO else ''} CDRs belong into the partition of their month"
    if longest > LONG_IN_DEFAULT_PARTITION_SECONDS:
        age = timedelta(seconds=round(longest))
        return warning(f"{found}, one for {age}", "run: cdr migrate, which moves them; see the log of cdr scheduler")
    return ok(f"{found}; cdr scheduler moves them every hour")


def _outbox(server: Server) -> Finding:
    waiting, oldest, refused = server.row(statement("cdr", "read_outbox"))
    if oldest is not None and oldest > LONG_WAIT_SECONDS:
        age = timedelta(seconds=round(oldest))
        return warning(f"{waiting:,} entries wait, the oldest for {age}", "start: cdr scheduler; see its log")
    if refused:
        return warning(
            f"{refused:,} calls could not be folded: the reason is in cdr.outbox.error",
            "mend it, then set error to null",
        )
    return ok(f"{waiting:,} entries wait")


def _time_rule(server: Server) -> Finding:
    if _column(server, "missing_privileges"):
        return info("not checked: see schema.privileges")
    return time_rule_finding(server)


def _quarantine(server: Server) -> Finding:
    [kept] = server.row(
        "SELECT count(*) FROM (SELECT FROM cdr.quarantine WHERE status = 'kept' LIMIT %s) AS kept", _COUNTED_UP_TO
    )
    if kept:
        more = "+" if kept >= _COUNTED_UP_TO else ""
        return warning(f"{kept:,}{more} kept that were no CDR when they came", "look: cdr quarantine list")
    return ok("nothing kept that was no CDR")


def _recordings(server: Server) -> Finding:
    count, example = server.row(statement("cdr", "read_unfetched_recordings"))
    if count:
        more = "+" if count >= _COUNTED_UP_TO else ""
        return warning(
            f"{count:,}{more} of the last day were refused or failed, one of them: {example}",
            "look: cdr recordings list --status refused; after the mend: cdr recordings retry --status refused",
        )
    return ok("none of the last day was refused or failed")


def _scheduler(server: Server) -> Finding:
    # A session of the scheduler asks for work several times a second; of another role's session the time is hidden.
    [alive] = server.row(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE %s"
        " AND coalesce(state_change, now()) > now() - make_interval(secs => %s)",
        "cdr scheduler%",
        SCHEDULER_SECONDS,
    )
    if alive:
        return ok("its session in PostgreSQL is at work")
    return problem(
        "no session of one in PostgreSQL: the jobs of dead workers, due jobs and the outbox wait",
        "start: cdr scheduler",
    )


SCHEMA: Section[Server] = Section(
    _opened,
    {
        "schema.privileges": _privileges,
        "schema.insert": _insert,
        "schema.partitions": _partitions,
        "schema.default_partition": _default_partition,
        "schema.outbox": _outbox,
        "schema.time_rule": _time_rule,
        "schema.recordings": _recordings,
        "quarantine.kept": _quarantine,
        "scheduler.alive": _scheduler,
    },
)
