"""Wires the receiver together: routes, endpoints, lifespan. Nothing else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from api.admission import Admission
from api.guards import OnlyMethods
from api.health import Health
from api.metrics import Metrics
from api.receive_cdr import ReceiveCdr
from api.storage import Storage
from common.settings import ReceiverSettings, RedisSettings, SpoolSettings

_ADDRESS = re.compile(r"/cdr(?:/(?P<secret>[^/]+))?/?")


class Receiver(FastAPI):
    """FastAPI, but for posts to the provider's address, which go straight to their endpoint.

    Finding it through the middleware and the router costs as much as taking a CDR.
    """

    def __init__(self, endpoint: ReceiveCdr, **options: Any) -> None:
        super().__init__(**options)
        self._endpoint = endpoint

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and (address := _ADDRESS.fullmatch(scope["path"])):
            scope["path_params"] = address.groupdict()
            await self._endpoint(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(receiver: ReceiverSettings, redis: RedisSettings, spool: SpoolSettings) -> FastAPI:
    """Return the receiver as an ASGI application."""
    metrics = Metrics()
    storage = Storage(redis, spool, metrics)
    receive_cdr = ReceiveCdr(receiver, Admission(), storage.group_commit, metrics)
    endpoint = OnlyMethods(receive_cdr, "GET", "HEAD", "POST")
    health = Health(storage.watch, storage.questions, metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with storage.running():
            yield

    app = Receiver(
        receive_cdr,
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
