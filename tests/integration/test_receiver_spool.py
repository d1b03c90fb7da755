"""What Redis cannot take goes to the disk, is acknowledged from there, and finds its way back."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from free_ports import free_port
from receiving import ADDRESS, configured, deliveries, jobs, kept, receiving
from slow_line import SlowLine
from starlette.testclient import TestClient

from api.spool import Entry, Spool
from cdr.embedded_server import running
from cdr.embedded_valkey import EmbeddedValkey
from common.errors import SpoolUnavailable
from common.receiver_state import read_receivers

WAIT_SECONDS = 30.0


@pytest.fixture
def own_valkey(tmp_path: Path) -> EmbeddedValkey:
    return EmbeddedValkey(tmp_path / "valkey", free_port(), "only-for-tests")


@pytest.fixture
def spool(tmp_path: Path) -> dict[str, Any]:
    return {"spool_dir": tmp_path / "spool"}


@pytest.fixture
def client(redis_url: str, spool: dict[str, Any]) -> Iterator[TestClient]:
    with receiving(redis_url, {"ack_timeout_ms": 500}, spool) as client:
        yield client


def post(client: TestClient, call_id: str) -> tuple[int, str]:
    response = client.post(ADDRESS, content=json.dumps({"ivruniqueid": call_id}))
    return response.status_code, response.json()["err"]


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def random_text(size: int) -> str:
    """Return text that does not become much shorter by compression."""
    return os.urandom(size).hex()


def post_large(client: TestClient, call_id: str, size: int) -> int:
    return client.post(ADDRESS, content=json.dumps({"ivruniqueid": call_id, "x": random_text(size)})).status_code


def state(client: TestClient) -> dict[str, Any]:
    told: dict[str, Any] = client.get("/readyz").json()
    return told


def waiting(client: TestClient) -> int:
    return int(state(client)["spool"]["cdrs"])


def call_ids(url: str) -> list[str]:
    return [each.fields["ivruniqueid"] for each in deliveries(url)]


def test_without_redis_a_cdr_is_acknowledged_from_the_spool(own_valkey: EmbeddedValkey, spool: dict[str, Any]) -> None:
    with receiving(own_valkey.url(), spool=spool) as client:
        assert post(client, "a") == (200, "0")
        assert waiting(client) == 1


def test_without_redis_the_receiver_is_not_ready_and_says_where_cdrs_go(
    own_valkey: EmbeddedValkey, spool: dict[str, Any]
) -> None:
    with receiving(own_valkey.url(), spool=spool) as client:
        response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["stores_in"] == "spool"
    assert response.json()["reason"].startswith("Redis: ")


def test_what_was_spooled_is_queued_once_redis_is_there_and_leaves_the_spool(
    own_valkey: EmbeddedValkey, spool: dict[str, Any]
) -> None:
    with receiving(own_valkey.url(), spool=spool) as client:
        for number in range(20):
            assert post(client, str(number)) == (200, "0")
        with running(own_valkey):
            assert wait_for(lambda: waiting(client) == 0)
            assert call_ids(own_valkey.url()) == [str(number) for number in range(20)]
            assert post(client, "later") == (200, "0")
            assert call_ids(own_valkey.url())[-1] == "later"


def test_small_groups_come_back_as_few_jobs(own_valkey: EmbeddedValkey, spool: dict[str, Any]) -> None:
    with receiving(own_valkey.url(), spool=spool) as client:
        for number in range(50):
            post(client, str(number))
        with running(own_valkey):
            assert wait_for(lambda: waiting(client) == 0)
            assert len(jobs(own_valkey.url())) == 1


def test_a_body_that_is_no_cdr_is_spooled_too(own_valkey: EmbeddedValkey, spool: dict[str, Any]) -> None:
    with receiving(own_valkey.url(), spool=spool) as client:
        response = client.post(ADDRESS, content=b"nonsense")
        assert (response.status_code, response.json()["err"]) == (200, "1")
        with running(own_valkey):
            assert wait_for(lambda: waiting(client) == 0)
            assert [each.body for each in kept(own_valkey.url())] == [b"nonsense"]


def test_an_array_larger_than_a_job_is_spooled_whole(own_valkey: EmbeddedValkey, spool: dict[str, Any]) -> None:
    body = json.dumps([{"ivruniqueid": str(number)} for number in range(2500)])
    with receiving(own_valkey.url(), spool=spool) as client:
        assert client.post(ADDRESS, content=body).json()["err"] == "0"
        with running(own_valkey):
            assert wait_for(lambda: waiting(client) == 0)
            assert call_ids(own_valkey.url()) == [str(number) for number in range(2500)]


@pytest.mark.parametrize(
    "settings",
    [
        {"appendonly": "no"},
        {"maxmemory_policy": "allkeys-lru"},
        {"maxmemory_policy": "volatile-lru"},
        {"maxmemory": "1"},
    ],
    ids=str,
)
def test_a_redis_that_cannot_keep_a_cdr_is_passed_over_until_it_can(
    client: TestClient, redis_url: str, settings: dict[str, str]
) -> None:
    with configured(redis_url, **settings):
        assert state(client)["stores_in"] == "spool"
        assert post(client, "a") == (200, "0")
        assert call_ids(redis_url) == []
        assert waiting(client) == 1
    assert wait_for(lambda: waiting(client) == 0)
    assert call_ids(redis_url) == ["a"]
    assert client.get("/readyz").status_code == 200


def test_over_its_memory_mark_redis_is_passed_over(client: TestClient, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        used = connection.info("memory")["used_memory"]
    with configured(redis_url, maxmemory=str(int(used / 0.85))):
        assert "of its memory" in state(client)["reason"]
        assert post(client, "a") == (200, "0")
        assert call_ids(redis_url) == []
    assert wait_for(lambda: call_ids(redis_url) == ["a"])


def test_the_first_write_that_is_not_confirmed_goes_to_the_spool(client: TestClient, redis_url: str) -> None:
    assert post(client, "before") == (200, "0")
    with configured(redis_url, appendonly="no"):
        # Nobody asked Redis since: only the answer to the write shows it.
        assert post(client, "a") == (200, "0")
        assert state(client)["stores_in"] == "spool"
    assert wait_for(lambda: waiting(client) == 0)
    assert {each.fields["ivruniqueid"] for each in deliveries(redis_url)} == {"before", "a"}
    assert len({each.delivery_id for each in deliveries(redis_url)}) == 2


def test_a_read_only_redis_is_passed_over(client: TestClient, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        connection.replicaof("127.0.0.1", "1")
        try:
            assert post(client, "a") == (200, "0")
            assert "replica" in state(client)["reason"] or "slave" in state(client)["reason"]
        finally:
            connection.replicaof("NO", "ONE")
    assert wait_for(lambda: call_ids(redis_url) == ["a"])


def test_a_redis_that_does_not_answer_in_time_is_passed_over(client: TestClient, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        connection.client_pause(60_000, all=False)
        try:
            assert [post(client, str(number)) for number in range(5)] == [(200, "0")] * 5
        finally:
            connection.client_unpause()
    assert wait_for(lambda: waiting(client) == 0)
    # The first may be there twice, with one delivery id: Redis may have taken it in the end.
    assert {each.fields["ivruniqueid"] for each in deliveries(redis_url)} == {"0", "1", "2", "3", "4"}
    assert len({each.delivery_id for each in deliveries(redis_url)}) == 5


def test_without_the_replicas_that_were_asked_for_cdrs_stay_in_the_spool(redis_url: str, spool: dict[str, Any]) -> None:
    with receiving(redis_url, {"ack_replicas": 1, "ack_timeout_ms": 1000}, spool) as client:
        assert post(client, "a") == (200, "0")
        assert "replicas 0 of 1" in state(client)["reason"]
        assert waiting(client) == 1


def test_a_full_spool_is_to_be_sent_again(own_valkey: EmbeddedValkey, spool: dict[str, Any]) -> None:
    with receiving(own_valkey.url(), spool={**spool, "spool_max_bytes": 1_048_576}) as client:
        bodies = [json.dumps({"ivruniqueid": str(number), "x": random_text(60_000)}) for number in range(30)]
        responses = [client.post(ADDRESS, content=body) for body in bodies]
        told = state(client)
    assert [each.status_code for each in responses[:5]] == [200] * 5
    assert (responses[-1].status_code, responses[-1].json()["err"]) == (503, "2")
    assert responses[-1].headers["retry-after"] == "10"
    assert told["stores_in"] == "nothing"
    assert told["spool"]["problem"]


def test_a_spool_that_was_full_is_told_to_be_usable_and_takes_cdrs_once_it_is_drained(
    own_valkey: EmbeddedValkey, spool: dict[str, Any]
) -> None:
    body = json.dumps({"ivruniqueid": "x", "x": random_text(300_000)})
    with receiving(own_valkey.url(), spool={**spool, "spool_max_bytes": 1_048_576}) as client:
        while client.post(ADDRESS, content=body).status_code == 200:
            pass
        with running(own_valkey):
            assert wait_for(lambda: waiting(client) == 0)
            assert wait_for(lambda: state(client)["spool"]["problem"] is None)
            assert "cdr_spool_usable 1.0" in client.get("/metrics").text
        assert post(client, "a") == (200, "0")
        assert state(client)["stores_in"] == "spool"


def test_a_folder_that_can_be_used_again_is_told_so_while_nothing_is_spooled(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with receiving(redis_url, spool={"spool_dir": tmp_path / "file"}) as client:
        assert state(client)["spool"]["problem"]
        (tmp_path / "file").unlink()
        assert wait_for(lambda: state(client)["spool"]["problem"] is None)


def test_a_folder_that_cannot_be_used_costs_nothing_while_redis_is_there(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with receiving(redis_url, spool={"spool_dir": tmp_path / "file"}) as client:
        assert post(client, "a") == (200, "0")
        assert client.get("/readyz").status_code == 200
        assert state(client)["spool"]["problem"]
        assert "cdr_spool_usable 0.0" in client.get("/metrics").text


def test_without_redis_and_without_a_usable_folder_it_is_to_be_sent_again(
    own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with receiving(own_valkey.url(), spool={"spool_dir": tmp_path / "file"}) as client:
        assert post(client, "a") == (503, "2")
        (tmp_path / "file").unlink()
        assert post(client, "a") == (200, "0")


def test_a_receiver_finds_what_the_one_before_it_left_behind(own_valkey: EmbeddedValkey, spool: dict[str, Any]) -> None:
    with receiving(own_valkey.url(), spool=spool) as client:
        post(client, "a")
    with running(own_valkey), receiving(own_valkey.url(), spool=spool) as client:
        assert wait_for(lambda: waiting(client) == 0)
        assert call_ids(own_valkey.url()) == ["a"]


def test_a_receiver_takes_over_what_a_neighbour_left_behind(own_valkey: EmbeddedValkey, spool: dict[str, Any]) -> None:
    with receiving(own_valkey.url(), spool=spool) as first:
        post(first, "from the first")
        with receiving(own_valkey.url(), spool=spool) as second:
            post(second, "from the second")
        with running(own_valkey):
            assert wait_for(lambda: set(call_ids(own_valkey.url())) == {"from the first", "from the second"})


def test_an_empty_spool_leaves_no_file_behind(redis_url: str, spool: dict[str, Any]) -> None:
    with receiving(redis_url, spool=spool) as client:
        post(client, "a")
    assert list(spool["spool_dir"].iterdir()) == []


def test_the_drain_keeps_to_its_rate(own_valkey: EmbeddedValkey, spool: dict[str, Any]) -> None:
    with receiving(own_valkey.url(), spool={**spool, "spool_drain_per_second": 50}) as client:
        for number in range(150):
            post(client, str(number))
        with running(own_valkey):
            assert wait_for(lambda: len(call_ids(own_valkey.url())) >= 50)
            started = time.monotonic()
            assert wait_for(lambda: waiting(client) == 0)
            assert time.monotonic() - started > 1.0


def test_what_redis_confirms_too_late_for_a_sender_is_drained_all_the_same(
    own_valkey: EmbeddedValkey, spool: dict[str, Any]
) -> None:
    # The line takes seconds for what waits in the spool, and no time for the small write that opens the gate.
    with SlowLine(own_valkey.port, bytes_per_second=400_000) as line:
        url = own_valkey.url().replace(f":{own_valkey.port}/", f":{line.port}/")
        with receiving(url, {"ack_timeout_ms": 500}, spool) as client:
            for number in range(10):
                assert post_large(client, str(number), 60_000) == 200
            with running(own_valkey):
                assert wait_for(lambda: waiting(client) == 0)
                assert sorted(call_ids(own_valkey.url())) == [str(number) for number in range(10)]


def test_live_cdrs_need_not_wait_for_the_drain(own_valkey: EmbeddedValkey, spool: dict[str, Any]) -> None:
    with receiving(own_valkey.url(), spool={**spool, "spool_drain_per_second": 1}) as client:
        for number in range(5):
            post(client, str(number))
        with running(own_valkey):
            assert wait_for(lambda: client.get("/readyz").status_code == 200)
            post(client, "live")
            assert "live" in call_ids(own_valkey.url())
            assert waiting(client) > 0


def test_what_a_receiver_tells_about_its_spool_stands_in_redis(
    own_valkey: EmbeddedValkey, spool: dict[str, Any]
) -> None:
    with receiving(own_valkey.url(), spool={**spool, "spool_drain_per_second": 1}) as client:
        for number in range(5):
            post(client, str(number))
        with running(own_valkey), redis.Redis.from_url(own_valkey.url()) as connection:
            assert wait_for(lambda: len(read_receivers(connection)) == 1)
            (told,) = read_receivers(connection)
    assert (told.ack_level, told.stores_in, told.reason) == ("fsync", "redis", None)
    assert told.spool is not None
    assert told.spool.cdrs > 0


def test_the_metrics_tell_what_waits_in_the_spool(own_valkey: EmbeddedValkey, spool: dict[str, Any]) -> None:
    with receiving(own_valkey.url(), spool=spool) as client:
        post(client, "a")
        shown = client.get("/metrics").text
        assert "cdr_spool_cdrs 1.0" in shown
        assert "cdr_spooled_total 1.0" in shown
        with running(own_valkey):
            assert wait_for(lambda: "cdr_drained_total 1.0" in client.get("/metrics").text)


def test_a_spool_that_cannot_be_read_holds_up_no_other(
    own_valkey: EmbeddedValkey, spool: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving(own_valkey.url(), spool=spool) as first, receiving(own_valkey.url(), spool=spool) as second:
        post(first, "broken")
        post(second, "whole")
    readable = Spool.oldest
    broken: list[Spool] = []

    def oldest(self: Spool, cdrs: int, after: int = 0) -> list[Entry]:
        if not broken:
            broken.append(self)
        if self is broken[0]:
            raise SpoolUnavailable("made to fail")
        return readable(self, cdrs, after)

    monkeypatch.setattr(Spool, "oldest", oldest)
    with running(own_valkey), receiving(own_valkey.url(), spool=spool):
        assert wait_for(lambda: len(call_ids(own_valkey.url())) == 1)
