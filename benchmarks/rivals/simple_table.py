"""The table that one would make in an afternoon, and the INSERT of a CDR into it."""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg.types.json import Jsonb

CREATE: tuple[LiteralString, ...] = (
    "CREATE SCHEMA IF NOT EXISTS rival",
    """
    CREATE TABLE IF NOT EXISTS rival.cdrs (
        call_id text, call_type text, status text, caller text, target text, time bigint, duration int, payload jsonb
    )
    """,
)
INSERT: LiteralString = "INSERT INTO rival.cdrs VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"


def columns(cdr: dict[str, Any]) -> list[Any]:
    """Return the values of a CDR's row."""
    names = ("ivruniqueid", "type", "status", "caller", "target", "time", "duration")
    return [*(cdr[name] for name in names), Jsonb(cdr)]
