"""A receiver in this process, and what it left in Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import redis
from pydantic import SecretStr
from starlette.testclient import TestClient

from api.app import create_app
from common.delivery import Delivery, QuarantinedBody
from common.job_queue import CDRS, KEEP_BODIES, LOAD_CDRS, CdrJob, CdrQueue
from common.settings import ReceiverSettings, RedisSettings, SpoolSettings

SECRET = "a-secret-of-the-tests"
ACCOUNT = "shop"
ADDRESS = f"/cdr/{SECRET}"


@contextmanager
def receiving(
    url: str, ack: dict[str, Any] | None = None, spool: dict[str, Any] | None = None, **receiver: Any
) -> Iterator[TestClient]:
    """Run a receiver on the Redis at `url`; its secret is SECRET unless `receiver_secrets` says another.

    It has a spool if `spool` says where.
    """
    receiver.setdefault("receiver_secrets", ((ACCOUNT, SecretStr(SECRET)),))
    redis_settings = RedisSettings(redis_url=SecretStr(url), **(ack or {}))
    app = create_app(ReceiverSettings(**receiver), redis_settings, SpoolSettings(**(spool or {})))
    with TestClient(app, base_url="http://receiver.invalid", follow_redirects=False) as client:
        yield client


@contextmanager
def configured(url: str, **values: str) -> Iterator[None]:
    """Change settings of the server for the length of a with-block."""
    names = {name.replace("_", "-"): value for name, value in values.items()}
    with redis.Redis.from_url(url) as connection:
        before = {name: connection.config_get(name)[name] for name in names}
        try:
            for name, value in names.items():
                connection.config_set(name, value)
            yield
        finally:
            for name, value in before.items():
                connection.config_set(name, value)


def jobs(url: str) -> list[CdrJob]:
    """Return the jobs that wait in the queue, in their order."""
    with redis.Redis.from_url(url) as connection:
        return [job for job in CdrQueue(CDRS, connection=connection).jobs if isinstance(job, CdrJob)]


def deliveries(url: str) -> list[Delivery]:
    """Return all deliveries that wait in the queue."""
    return _entries(url, LOAD_CDRS, list[Delivery])


def kept(url: str) -> list[QuarantinedBody]:
    """Return all bodies that wait for the quarantine."""
    return _entries(url, KEEP_BODIES, list[QuarantinedBody])


def _entries(url: str, function: str, kind: Any) -> list[Any]:
    return [entry for job in jobs(url) if job.func_name == function for entry in msgspec.convert(job.args[1], kind)]
