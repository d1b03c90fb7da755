"""The rival: a FastAPI endpoint that inserts each CDR within the request, as one would write it in an afternoon."""

from __future__ import annotations

import os

import psycopg
from fastapi import FastAPI, Request

from benchmarks.rivals.simple_table import CREATE, INSERT, columns

app = FastAPI()
connection = psycopg.connect(os.environ["CDR_DATABASE_URL"], autocommit=True)
for statement in CREATE:
    connection.execute(statement)


@app.post("/cdr")
async def receive(request: Request) -> dict[str, str]:
    """Insert one CDR and answer."""
    connection.execute(INSERT, columns(await request.json()))
    return {"err": "0", "errdesc": "OK"}
