"""The textbook: FastAPI, a pydantic model, and `queue.enqueue` for each request; its job is in `textbook_job`."""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from redis import Redis
from rq import Queue

app = FastAPI()
queue = Queue("textbook", connection=Redis.from_url(os.environ["CDR_REDIS_URL"]))


class Cdr(BaseModel):
    """The fields that the specification names first; the others are kept as they come."""

    model_config = ConfigDict(extra="allow")

    ivruniqueid: str
    type: str
    status: str
    caller: str | None = None
    target: str | None = None
    time: int | None = None
    duration: int = 0


@app.post("/cdr")
def receive(cdr: Cdr) -> dict[str, Any]:
    """Queue a job and answer."""
    queue.enqueue("benchmarks.rivals.textbook_job.insert", cdr.model_dump())
    return {"err": "0", "errdesc": "OK"}
