"""Writes bodies that could not be taken as CDRs into `cdr.quarantine`; the same body again counts up."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from typing import NamedTuple

from common.delivery import QuarantinedBody
from common.errors import CdrError, Permanent, Rejected
from common.postgres import IN_DOUBT, Database, statement
from common.wire.hygiene import storable
from worker.bisection import Bisection, Failed
from worker.pipeline import NotLoadable
from worker.rows import as_json


class NotKept(NamedTuple):
    """What was not kept: `refused` one body each, `held` those to be tried again later."""

    refused: list[Failed]
    held: list[Failed]


def keep(database: Database, bodies: list[QuarantinedBody]) -> NotKept:
    """Keep all bodies that can be kept and return the others; raises DatabaseUnavailable or DatabaseNotReady."""

    def act(part: list[QuarantinedBody], in_doubt: bool) -> None:
        _keep_all(database, part, in_doubt=in_doubt)

    bisection = Bisection(act, lambda _: _check_database(database))
    bisection.run(bodies)
    return NotKept(bisection.refused, bisection.held)


def _keep_all(database: Database, bodies: list[QuarantinedBody], *, in_doubt: bool) -> None:
    try:
        with database.transaction(IN_DOUBT if in_doubt else None) as cursor:
            cursor.executemany(statement("worker", "keep_body"), _rows(bodies))
    except CdrError:
        raise
    except Exception as error:
        # An error of ours in one of the rows costs that one.
        raise NotLoadable(f"{type(error).__name__}: {error}") from error


def _check_database(database: Database) -> None:
    """Keep a harmless body and take it back; raises DatabaseUnavailable or DatabaseNotReady when that cannot be done."""
    control = QuarantinedBody(0, "control", "json", "unreadable", "", {}, b"")
    with suppress(Permanent, Rejected), database.transaction(IN_DOUBT, keep=False) as cursor:
        cursor.executemany(statement("worker", "keep_body"), _rows([control]))


def _rows(bodies: list[QuarantinedBody]) -> list[dict[str, object]]:
    """Return the rows, in the order of their key so that two workers do not block each other, then of their receipt."""
    return sorted(
        ({"sha256": sha256(body.body).digest(), "body": body.body, **_columns(body)} for body in bodies),
        key=lambda row: (row["account"], row["sha256"], row["received_at"]),
    )


def _columns(body: QuarantinedBody) -> dict[str, object]:
    # A parser's message may quote what it could not read, and no database holds every text.
    return {
        "received_at": body.received_at,
        "account": body.account,
        "format": body.format,
        "reason": body.reason,
        "error": storable(body.error, set()),
        "headers": as_json(storable(body.headers, set())),
    }
