"""Runs the processes of the product, each from its settings alone: receiver, worker, scheduler."""

from __future__ import annotations

import logging
import resource
import signal
import socket
from contextlib import suppress

import structlog

from common.environment import load
from common.errors import ConfigurationError, Transient
from common.job_queue import HOOKS, RECORDINGS
from common.postgres import Database
from common.redis_client import connect
from common.settings import (
    DatabaseSettings,
    HookSettings,
    NamedHooks,
    ReceiverSettings,
    RecordingSettings,
    RedisSettings,
    SpoolSettings,
)

GRACE_SECONDS = 10
_BACKLOG = 2048

_log = structlog.get_logger("cdr")


def run_receiver() -> int:
    """Serve until SIGTERM or SIGINT; what was taken is answered first. Returns the exit code."""
    # The server and the application are as much as all the rest, and a worker or scheduler starts without them.
    import uvicorn

    from api.app import create_app
    from cdr.bounded_http import BoundedHTTP

    settings = load(ReceiverSettings)
    redis = load(RedisSettings)
    spool = load(SpoolSettings)
    _raise_file_limit()
    listener = _listen(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings, redis, spool),
            # The faster parser bounds neither a header nor their number, before any secret is checked, and gives a body
            # away that comes with an Upgrade header; this one bounds the head of a request at 64 KiB and in time.
            http=BoundedHTTP,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            # A secret is part of the address, so no proxy's word about addresses is needed or wanted.
            proxy_headers=False,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn's own handlers stand only while it serves: a signal may come before, and it raises each again after.
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    # A line for each connection that sends no HTTP is more than a disk should hold; what matters we log ourselves.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    host, port = listener.getsockname()[:2]
    _log.info("receiver listens", host=host, port=port, ack_level=redis.ack_level, spool=str(spool.spool_dir or "none"))
    server.run(sockets=[listener])
    # The application refuses to end in good order when the writer has died, and its supervisor should hear of it.
    return 0 if server.started and not server.lifespan.should_exit else 1


def _raise_file_limit() -> None:
    """Allow as many connections as the system lets this process have: each is an open file."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems name a limit here that they do not grant.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listen(settings: ReceiverSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if settings.reuse_port:
        # Several receivers share one address: the kernel hands each its part of the connections.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"CDR_HOST, CDR_PORT: cannot listen on {settings.host}:{settings.port}: {error}"
        ) from error
    listener.listen(_BACKLOG)
    return listener


def run_worker(queue: str) -> int:
    """Work on one queue until SIGTERM or SIGINT; the job at hand is finished first. Returns the exit code."""
    from worker.hook_functions import import_hooks
    from worker.queue_worker import work

    load(DatabaseSettings)
    load(NamedHooks)
    if queue == HOOKS:
        # What cannot be imported is told now, and not by each job.
        import_hooks(load(HookSettings).hooks)
    if queue == RECORDINGS:
        _require_store(load(RecordingSettings))
    _log.info("worker starts", queue=queue)
    # A worker blocks in Redis for longer than a command takes, so its deadline is RQ's to set.
    return work(queue, connect(load(RedisSettings).redis_url.get_secret_value(), timeout_seconds=None))


def _require_store(settings: RecordingSettings) -> None:
    """Raise ConfigurationError when there is no such store for certain; one that does not answer is waited for."""
    from worker.recordings.recording_store import RecordingStore

    try:
        RecordingStore(settings.recordings_url).require()
    except Transient as error:
        _log.warning("recordings wait", error=str(error))


def run_scheduler() -> int:
    """Schedule and sweep until SIGTERM or SIGINT. Returns the exit code."""
    from worker.scheduler import Scheduler

    database_url = load(DatabaseSettings).database_url.get_secret_value()
    redis = load(RedisSettings)
    redis_url = redis.redis_url.get_secret_value()
    Scheduler(
        lambda: Database(database_url, "cdr scheduler"),
        lambda: connect(redis_url, ack_level=redis.ack_level, ack_replicas=redis.ack_replicas),
    ).run()
    return 0
