"""All recorders together keep to how many ask a host at a time, to its wish to be left alone, and to one fetch an address."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import redis
from free_ports import free_port
from running import until

from common.errors import QueueUnavailable
from common.redis_client import connect
from worker.recordings import fetch_gate
from worker.recordings.fetch_gate import LEASE_SECONDS, FetchGate, Visit, address_key, places_key, wait_key

HOST = "audio.invalid"
ADDRESS = b"\x01" * 32


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def visits(redis_url: str) -> Iterator[list[Visit]]:
    """Two jobs on two machines, for a host with two places."""
    first, second = connect(redis_url), connect(redis_url)
    with (
        closing(first),
        closing(second),
        FetchGate(first, 2, 0).visit() as one,
        FetchGate(second, 2, 0).visit() as other,
    ):
        yield [one, other]


def test_a_host_is_asked_by_no_more_than_there_are_places(visits: list[Visit]) -> None:
    one, other = visits
    with one.place(HOST) as first, other.place(HOST) as second, other.place(HOST) as third:
        assert (first, second) == (None, None)
        assert third is not None
        assert (third.error, third.asked_to_wait) == (f"2 others are fetched from {HOST}", None)
        with one.place("another.invalid") as elsewhere:
            assert elsewhere is None
    # What was given back may take a moment on its way.
    one._place_wait_seconds = 30
    with one.place(HOST) as first, one.place(HOST) as second:
        assert (first, second) == (None, None)


def test_a_place_that_is_given_back_goes_to_who_waits_for_it(redis_url: str) -> None:
    got = threading.Event()

    def wait_for_a_place(visit: Visit) -> None:
        with visit.place(HOST) as put_off:
            assert put_off is None
            got.set()

    with closing(connect(redis_url)) as client, FetchGate(client, 1).visit() as visit:
        with visit.place(HOST):
            thread = threading.Thread(target=wait_for_a_place, args=[visit])
            thread.start()
            assert not got.wait(0.3)
        assert got.wait(60)
        thread.join()


def test_a_host_that_asks_to_wait_is_left_alone_by_everybody(visits: list[Visit], connection: redis.Redis) -> None:
    one, other = visits
    one.leave_alone(HOST, 120)
    other.leave_alone(HOST, 5)
    with other.place(HOST) as put_off, other.place("another.invalid") as elsewhere:
        assert put_off is not None
        assert (put_off.error, put_off.cause, put_off.asked_to_wait) == (f"{HOST} asks to wait", HOST, None)
        assert 60 < put_off.wait_seconds <= 120
        assert elsewhere is None
    connection.delete(wait_key(HOST))
    with other.place(HOST) as put_off:
        assert put_off is None


def test_an_address_is_fetched_by_one_job_at_a_time(visits: list[Visit]) -> None:
    one, other = visits
    assert one.lock([ADDRESS, b"b", ADDRESS]) == {ADDRESS, b"b"}
    assert other.lock([ADDRESS, b"c"]) == {b"c"}
    assert one.lock([]) == set()
    # As after an answer that was lost on its way.
    assert one.lock([ADDRESS]) == {ADDRESS}


def test_what_a_job_held_is_free_after_it(redis_url: str, connection: redis.Redis) -> None:
    with closing(connect(redis_url)) as client, FetchGate(client, 2).visit() as visit:
        visit.lock([ADDRESS])
        with visit.place(HOST):
            assert sorted(connection.keys("cdr:fetching*")) == sorted(
                [places_key(HOST).encode(), address_key(ADDRESS).encode()]
            )
    assert connection.keys("cdr:*") == []


def test_what_others_hold_meanwhile_is_not_given_back(redis_url: str, connection: redis.Redis) -> None:
    with closing(connect(redis_url)) as client, FetchGate(client, 2).visit() as visit:
        visit.lock([ADDRESS])
        connection.set(address_key(ADDRESS), "another")
        visit.renew()
    assert connection.get(address_key(ADDRESS)) == b"another"


def test_leases_are_renewed_while_a_job_runs(
    redis_url: str, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_gate, "RENEW_SECONDS", 0.05)
    with closing(connect(redis_url)) as client, FetchGate(client, 1, 0).visit() as visit:
        visit.lock([ADDRESS])
        with visit.place(HOST):
            first = leases_end_at(connection)
            until(lambda: all(now > then for now, then in zip(leases_end_at(connection), first, strict=True)))


def leases_end_at(connection: redis.Redis) -> tuple[float, float]:
    """Tell when the lease of the address and that of the one place at the host run out."""
    [(_, place_ends_at)] = connection.zrange(places_key(HOST), 0, -1, withscores=True)
    return connection.pexpiretime(address_key(ADDRESS)), place_ends_at


def test_everything_vanishes_by_itself(visits: list[Visit], connection: redis.Redis) -> None:
    one, _ = visits
    one.lock([ADDRESS])
    one.leave_alone(HOST, 3)
    with one.place("another.invalid"):
        left = [connection.pttl(key) for key in connection.keys("cdr:*")]
    assert len(left) == 3
    assert all(0 < milliseconds <= LEASE_SECONDS * 2000 for milliseconds in left)


def test_places_that_a_clock_which_was_set_back_left_in_the_future_are_free(
    visits: list[Visit], connection: redis.Redis
) -> None:
    seconds, _ = connection.time()
    connection.zadd(places_key(HOST), {"one": seconds + 3600, "another": seconds + 3600})
    with visits[0].place(HOST) as put_off:
        assert put_off is None


HOLDER = """
import sys, time
from common.redis_client import connect
from worker.recordings import fetch_gate
from worker.recordings.fetch_gate import FetchGate
fetch_gate.LEASE_SECONDS = 2.0
with FetchGate(connect(sys.argv[1]), 1).visit() as visit, visit.place("audio.invalid"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_worker_frees_its_place(redis_url: str, connection: redis.Redis) -> None:
    arguments = [sys.executable, "-c", HOLDER, redis_url]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert connection.zcard(places_key(HOST)) == 1
        process.send_signal(signal.SIGKILL)
    with (
        closing(connect(redis_url)) as client,
        FetchGate(client, 1, 2 * LEASE_SECONDS).visit() as visit,
        visit.place(HOST) as put_off,
    ):
        assert put_off is None


def test_a_redis_that_is_away_lets_nobody_begin_and_stops_nobody() -> None:
    nobody_there = f"redis://127.0.0.1:{free_port()}/0"
    with closing(connect(nobody_there, 0.2, 0)) as away, FetchGate(away, 1).visit() as visit:
        with pytest.raises(QueueUnavailable):
            visit.lock([ADDRESS])
        with pytest.raises(QueueUnavailable), visit.place(HOST):
            pass
        visit.leave_alone(HOST, 3)


def test_a_redis_that_goes_away_in_mid_fetch_stops_nothing(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_gate, "RENEW_SECONDS", 0.01)
    with closing(connect(redis_url)) as client, FetchGate(client, 1).visit() as visit:
        visit.lock([ADDRESS])
        with visit.place(HOST):
            # As if it were another server, where nobody listens.
            away = connect(f"redis://127.0.0.1:{free_port()}/0", 0.2, 0)
            monkeypatch.setattr(visit, "_connection", away)
            time.sleep(0.2)
        away.close()
