"""What the job functions work with: a database connection, a Redis client, the store, what the stages know.

RQ calls job functions by name with nothing but their payload, so this is kept for the process. It is made when first
wanted and again in a forked child, because connections must not be shared over a fork (a stock `rq worker` forks).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from common.environment import load
from common.postgres import Database
from common.redis_client import RedisClient, connect
from common.settings import (
    AccountDefaults,
    DatabaseSettings,
    HookSettings,
    NamedHooks,
    RecordingSettings,
    RedisSettings,
)
from worker.accounts import Accounts
from worker.extension_directory import ExtensionDirectory
from worker.follow_up import FollowUp
from worker.hook_functions import Hook, import_hooks
from worker.load_parts import PartLoader
from worker.pipeline import Knowledge

if TYPE_CHECKING:
    from worker.recordings.fetch_batch import Batch


# While one thread enriches, two wait for PostgreSQL, which takes about as long for a CDR as all of Python does.
FURTHER_CONNECTIONS = 2


class Context:
    """The worker's own things; raises ConfigurationError when a setting is missing."""

    def __init__(self) -> None:
        self.process_id = os.getpid()
        self.database = _open_database()
        # For the threads that load beside the worker's own, once there is something for them.
        self.further_databases = [_open_database() for _ in range(FURTHER_CONNECTIONS)]
        self.knowledge = Knowledge(Accounts(load(AccountDefaults)), ExtensionDirectory(), load(NamedHooks).hooks)

    @cached_property
    def redis(self) -> RedisClient:
        """A Redis client."""
        return _connect()

    @cached_property
    def part_loader(self) -> PartLoader:
        """What loads the CDRs of many jobs."""
        return PartLoader(self.database, self.further_databases, self.knowledge)

    @cached_property
    def follow_up(self) -> FollowUp:
        """What does what follows the loads; its thread has connections of its own."""
        return FollowUp(_open_database(), _connect(), has_hooks=bool(self.knowledge.hooks))

    @cached_property
    def recordings(self) -> Batch:
        """What fetches recordings; only the recorder needs its settings and libraries."""
        from worker.recordings.address_guard import AddressGuard
        from worker.recordings.fetch_batch import Batch
        from worker.recordings.fetch_gate import FetchGate
        from worker.recordings.fetch_recording import Fetcher
        from worker.recordings.recording_store import RecordingStore
        from worker.recordings.safe_http import FetchLimits

        settings = load(RecordingSettings)
        fetcher = Fetcher(
            RecordingStore(settings.recordings_url),
            AddressGuard(settings.recording_allow_networks, hosts=settings.recording_hosts),
            FetchLimits(max_bytes=settings.recording_max_bytes),
        )
        gate = FetchGate(self.redis, settings.recording_per_host)
        return Batch(self.database, fetcher, gate, settings.recording_retry_seconds)

    @cached_property
    def hook_settings(self) -> HookSettings:
        """How hooks are called; a wrong setting of these is no reason to load no CDR."""
        return load(HookSettings)

    @cached_property
    def hooks(self) -> Mapping[str, Hook]:
        """The functions that CDR_HOOKS names; raises ConfigurationError for one that cannot be imported."""
        return import_hooks(self.hook_settings.hooks)

    def refresh(self) -> None:
        """Read accounts and the extension directory again when they are old."""
        self.knowledge.accounts.refresh(self.database)
        self.knowledge.directory.refresh(self.database)


def _open_database() -> Database:
    return Database(load(DatabaseSettings).database_url.get_secret_value(), "cdr worker")


def _connect() -> RedisClient:
    settings = load(RedisSettings)
    return connect(
        settings.redis_url.get_secret_value(), ack_level=settings.ack_level, ack_replicas=settings.ack_replicas
    )


class _Kept:
    """The context of this process."""

    context: Context | None = None


def current() -> Context:
    """Return the context of this process."""
    if _Kept.context is None or _Kept.context.process_id != os.getpid():
        _Kept.context = Context()
    return _Kept.context


def end_follow_up() -> None:
    """Wait for what follows the last load of this process, if it has loaded anything, and end the thread that does it."""
    if _Kept.context is not None and _Kept.context.process_id == os.getpid():
        _Kept.context.follow_up.end()
