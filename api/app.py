"""Wires the receiver together: routes, endpoints, lifespan. Nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.routing import Route

from api.admission import Admission
from api.guards import OnlyMethods
from api.health import Health
from api.metrics import Metrics
from api.receive_cdr import ReceiveCdr
from api.storage import Storage
from common.settings import ReceiverSettings, RedisSettings, SpoolSettings


def create_app(receiver: ReceiverSettings, redis: RedisSettings, spool: SpoolSettings) -> FastAPI:
    """Return the receiver as an ASGI application."""
    metrics = Metrics()
    storage = Storage(redis, spool, metrics)
    endpoint = OnlyMethods(ReceiveCdr(receiver, Admission(), storage.group_commit, metrics), "GET", "HEAD", "POST")
    health = Health(storage.watch, storage.questions, metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with storage.running():
            yield

    app = FastAPI(
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
