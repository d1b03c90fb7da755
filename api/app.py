"""Wires the receiver together: routes, endpoints, lifespan. Nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from api.admission import Admission
from api.guards import Accounts, OnlyMethods
from api.health import Health
from api.metrics import Metrics
from api.receive_cdr import ReceiveCdr
from api.storage import Storage
from api.usual_post import UsualPost
from common.settings import ReceiverSettings, RedisSettings, SpoolSettings


class Receiver(FastAPI):
    """FastAPI with a way in for the usual post, for a server that knows of it."""

    def __init__(self, usual_post: UsualPost, **options: Any) -> None:
        super().__init__(**options)
        self.usual_post = usual_post


def create_app(receiver: ReceiverSettings, redis: RedisSettings, spool: SpoolSettings) -> FastAPI:
    """Return the receiver as an ASGI application."""
    metrics = Metrics()
    storage = Storage(redis, spool, metrics)
    inside = (receiver, Accounts(receiver), Admission(), storage.group_commit, metrics)
    endpoint = OnlyMethods(ReceiveCdr(*inside), "GET", "HEAD", "POST")
    health = Health(storage.watch, storage.questions, metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with storage.running():
            yield

    app = Receiver(
        UsualPost(*inside),
        title="CDR receiver",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # A sender need not follow a redirection of its post: the address is taken with a slash at its end, too.
        redirect_slashes=False,
    )
    # Plain routes: the endpoint reads the bytes itself, so FastAPI's own parsing would only cost time.
    addresses = ("/cdr/{secret}", "/cdr/{secret}/", "/cdr", "/cdr/")
    app.router.routes.extend(
        [
            *(Route(address, endpoint) for address in addresses),
            Route("/livez", health.live),
            Route("/readyz", health.ready),
            Route("/metrics", health.metrics),
        ]
    )
    return app
