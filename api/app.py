"""Wires the receiver together: routes, endpoints, lifespan. Nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.routing import Route

from api.durable_queue import DurableQueue
from api.group_commit import GroupCommit
from api.guards import OnlyMethods
from api.health import Health
from api.metrics import Metrics
from api.receive_cdr import ReceiveCdr
from common.redis_client import connect_async
from common.settings import ReceiverSettings, RedisSettings


def create_app(receiver: ReceiverSettings, redis: RedisSettings) -> FastAPI:
    """Return the receiver as an ASGI application."""
    metrics = Metrics()
    store = DurableQueue(redis)
    group_commit = GroupCommit(store)
    questions = connect_async(redis.redis_url.get_secret_value())
    endpoint = OnlyMethods(ReceiveCdr(receiver, group_commit, metrics), "GET", "HEAD", "POST")
    health = Health(redis, questions, metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await group_commit.start()
        yield
        await group_commit.stop()
        await store.close()
        await questions.aclose()

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
