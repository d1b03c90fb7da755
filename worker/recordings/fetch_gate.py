"""What all recorders of all machines keep to together: how many ask a host at a time, who waits, who fetches an address.

It is kept in Redis under keys that vanish by themselves. Who asks holds a lease, so that what a killed process held is free
within LEASE_SECONDS.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self
from uuid import uuid4

import structlog

from common.errors import QueueUnavailable
from common.redis_client import RedisClient, translated
from worker.recordings import gate_scripts
from worker.recordings.recording_outcome import PutOff

# About as long as a job's own lease: whoever gets the job of a dead worker finds its addresses free.
LEASE_SECONDS = 15.0
RENEW_SECONDS = 4.0
# How long a fetch waits for a place at its host before it lets others have its thread, and for how long then.
PLACE_WAIT_SECONDS = 20.0
NO_PLACE_RETRY_SECONDS = 15.0
_ASK_AGAIN_SECONDS = (0.1, 0.5)

_log = structlog.get_logger("worker.recordings.fetch_gate")


def wait_key(host: str) -> str:
    """Return the key that is there for as long as a host asks to be left alone."""
    return f"cdr:host_wait:{host}"


def places_key(host: str) -> str:
    """Return the key of the sorted set that holds who asks a host at the moment, by when the leases run out."""
    return f"cdr:fetching:{host}"


def address_key(source_key: bytes) -> str:
    """Return the key that names who fetches an address, given by its SHA-256."""
    return f"cdr:fetching_address:{source_key.hex()}"


class FetchGate:
    """The way to every host, for one process; at most `per_host` fetches ask a host at a time, over all processes."""

    def __init__(self, connection: RedisClient, per_host: int, place_wait_seconds: float = PLACE_WAIT_SECONDS) -> None:
        self._connection = connection
        self._per_host = per_host
        self._place_wait_seconds = place_wait_seconds

    def visit(self) -> Visit:
        """Return a visit: a `with` block for the fetches of one job."""
        return Visit(self._connection, self._per_host, self._place_wait_seconds)


class Visit:
    """What the fetches of one job hold, renewed by a thread while the block runs, and given back at its end."""

    def __init__(self, connection: RedisClient, per_host: int, place_wait_seconds: float) -> None:
        self._connection = connection
        self._per_host = per_host
        self._place_wait_seconds = place_wait_seconds
        self._token = uuid4().hex
        self._addresses: list[str] = []
        self._places: dict[str, str] = {}
        self._given_back: list[tuple[str, str]] = []
        self._guard = threading.Lock()
        self._is_over = False
        self._awake = threading.Event()
        self._thread = threading.Thread(target=self._keep_until_over, name="fetch leases", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._awake.set()
        self._thread.join()
        # What cannot be given back now runs out.
        with suppress(QueueUnavailable):
            self._give_back()
            self._run(gate_scripts.UNLOCK, self._addresses, self._token)

    def lock(self, source_keys: Sequence[bytes]) -> set[bytes]:
        """Lock addresses, and return those that nobody else fetches; they are held until the visit ends.

        Raises QueueUnavailable.
        """
        distinct = list(dict.fromkeys(source_keys))
        keys = [address_key(each) for each in distinct]
        taken = self._run(gate_scripts.LOCK, keys, self._token, int(LEASE_SECONDS * 1000))
        mine = {each for each, is_mine in zip(distinct, taken, strict=True) if is_mine}
        with self._guard:
            self._addresses += [address_key(each) for each in mine]
        return mine

    @contextmanager
    def place(self, host: str) -> Iterator[PutOff | None]:
        """Hold one of the places at a host for the block, or give why there is none for now.

        Waits a while for a place. Raises QueueUnavailable before the block begins.
        """
        member = f"{self._token}:{uuid4().hex}"
        put_off = self._enter(host, member)
        try:
            yield put_off
        finally:
            if put_off is None:
                self._leave(member)

    def leave_alone(self, host: str, seconds: float) -> None:
        """Have nobody ask a host for so long, because it says so. A Redis that is away cannot be told."""
        try:
            self._run(gate_scripts.LEAVE_ALONE, [wait_key(host)], max(1, int(seconds * 1000)))
        except QueueUnavailable as error:
            _log.warning("others are not told to wait", host=host, error=str(error))

    def _enter(self, host: str, member: str) -> PutOff | None:
        ends_at = time.monotonic() + self._place_wait_seconds
        while True:
            keys = [wait_key(host), places_key(host)]
            found = int(self._run(gate_scripts.ENTER, keys, member, self._per_host, LEASE_SECONDS))
            if found > 0:
                return PutOff(f"{host} asks to wait", found / 1000, host)
            if found < 0:
                with self._guard:
                    self._places[member] = host
                return None
            if time.monotonic() >= ends_at:
                error = f"{self._per_host} others are fetched from {host}"
                return PutOff(error, NO_PLACE_RETRY_SECONDS, host)
            time.sleep(random.uniform(*_ASK_AGAIN_SECONDS))  # noqa: S311 - so that not all ask at once

    def _leave(self, member: str) -> None:
        # Not here: what was fetched is written down even while Redis says nothing.
        with self._guard:
            self._given_back.append((self._places.pop(member), member))
        self._awake.set()

    def _keep_until_over(self) -> None:
        """Give back what is given back, at once, and renew the rest in time.

        Both in one thread, so that a place which is given back does not come to life again.
        """
        renew_at = time.monotonic() + RENEW_SECONDS
        while not self._is_over:
            self._awake.wait(max(0.0, renew_at - time.monotonic()))
            self._awake.clear()
            try:
                self._give_back()
                if time.monotonic() >= renew_at:
                    renew_at = time.monotonic() + RENEW_SECONDS
                    self.renew()
            except QueueUnavailable as error:
                # The fetches go on: at worst one is made twice, which stores once.
                _log.warning("fetches not renewed", error=str(error))

    def _give_back(self) -> None:
        with self._guard:
            given_back, self._given_back = self._given_back, []
        for host, member in given_back:
            with translated():
                self._connection.zrem(places_key(host), member)

    def renew(self) -> None:
        """Renew all that is held; raises QueueUnavailable."""
        with self._guard:
            addresses, places = list(self._addresses), dict(self._places)
        keys = [places_key(host) for host in places.values()]
        self._run(gate_scripts.RENEW_PLACES, keys, LEASE_SECONDS, *places)
        self._run(gate_scripts.RENEW_LOCKS, addresses, self._token, int(LEASE_SECONDS * 1000))

    def _run(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        if not keys:
            return []
        with translated():
            return self._connection.register_script(script)(keys=keys, args=arguments)
