"""The textbook's job: one INSERT. A forking worker's child has to open a connection of its own."""

from __future__ import annotations

import os
from typing import Any

import psycopg

from benchmarks.rivals.simple_table import INSERT, columns


def insert(cdr: dict[str, Any]) -> None:
    """Insert one CDR."""
    with psycopg.connect(os.environ["CDR_DATABASE_URL"]) as connection:
        connection.execute(INSERT, columns(cdr))
