"""The rival: a FastAPI endpoint that inserts each CDR within the request, as one would write it in an afternoon."""

from __future__ import annotations

import os
from typing import Any

import psycopg
from fastapi import FastAPI, Request
from psycopg.types.json import Jsonb

app = FastAPI()
connection = psycopg.connect(os.environ["CDR_DATABASE_URL"], autocommit=True)
connection.execute("CREATE SCHEMA IF NOT EXISTS rival")
connection.execute(
    "CREATE TABLE IF NOT EXISTS rival.cdrs (call_id text, call_type text, status text, caller text, target text, "
    "time bigint, duration int, payload jsonb)"
)


@app.post("/cdr")
async def receive(request: Request) -> dict[str, str]:
    """Insert one CDR and answer."""
    cdr: dict[str, Any] = await request.json()
    connection.execute(
        "INSERT INTO rival.cdrs VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        [
            cdr["ivruniqueid"],
            cdr["type"],
            cdr["status"],
            cdr["caller"],
            cdr["target"],
            cdr["time"],
            cdr["duration"],
            Jsonb(cdr),
        ],
    )
    return {"err": "0", "errdesc": "OK"}
