"""A FastAPI endpoint that reads the body and answers: less than any receiver can do."""

from __future__ import annotations

from fastapi import FastAPI, Request

app = FastAPI()


@app.post("/cdr")
async def receive(request: Request) -> dict[str, str]:
    """Read the body and answer."""
    await request.body()
    return {"err": "0", "errdesc": "OK"}
