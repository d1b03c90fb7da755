"""The usual way of a post stores and answers what the general way does, or leaves the post to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from api.acknowledge import Response
from api.admission import Admission
from api.group_commit import GroupCommit
from api.guards import Accounts
from api.metrics import Metrics
from api.receive_cdr import LARGE_BYTES, ReceiveCdr
from api.usual_post import UsualPost
from cdr.simulate.run import SimulateOptions, posts_of
from common.delivery import Delivery
from common.errors import QueueUnavailable
from common.job_queue import NewJob
from common.settings import ReceiverSettings

SECRET = "a-secret-of-an-account"
TARGET = f"/cdr/{SECRET}".encode()
Headers = list[tuple[bytes, bytes]]
JSON: Headers = [(b"content-type", b"application/json")]
CDR = {"ivruniqueid": "x", "type": "Incoming Call", "status": "ANSWER", "caller": "0500000000"}


class Store:
    """Keeps what it is given, or cannot."""

    def __init__(self, *, works: bool = True) -> None:
        self.jobs: list[NewJob] = []
        self._works = works

    async def write(self, jobs: Sequence[NewJob]) -> None:
        if not self._works:
            raise QueueUnavailable("no Redis")
        self.jobs.extend(jobs)


class Way(NamedTuple):
    """Both ways into one receiver."""

    store: Store
    commit: GroupCommit
    admission: Admission
    metrics: Metrics
    usual: UsualPost
    general: ReceiveCdr


def ways(store: Store | None = None, **settings: Any) -> Way:
    receiver = ReceiverSettings(receiver_secrets=f"acme:{SECRET}", **settings)
    store = store or Store()
    commit, admission, metrics = GroupCommit(store), Admission(), Metrics()
    inside = (receiver, Accounts(receiver), admission, commit, metrics)
    return Way(store, commit, admission, metrics, UsualPost(*inside), ReceiveCdr(*inside))


async def usual(way: Way, body: bytes, headers: Headers, target: bytes = TARGET) -> Response | None:
    """Post the usual way; None when that is left to the general one."""
    answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    await way.commit.start()
    taken = way.usual.take(target, headers, body, answered.set_result)
    await way.commit.stop()
    assert answered.done() == taken
    return answered.result() if taken else None


async def general(way: Way, body: bytes, headers: Headers) -> Response:
    scope = {
        "type": "http",
        "method": "POST",
        "path_params": {"secret": SECRET},
        "headers": headers,
        "query_string": b"",
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await way.commit.start()
    await way.general(scope, receive, send)
    await way.commit.stop()
    return Response(sent[0]["status"], tuple(sent[0]["headers"]), sent[1]["body"])


def stored(way: Way) -> list[Delivery]:
    """Return the CDRs that were stored, without what no two receipts have in common."""
    deliveries = [msgspec.json.decode(bytes(raw), type=Delivery) for job in way.store.jobs for raw in job.arguments[0]]
    return [msgspec.structs.replace(each, delivery_id="", received_at_us=0) for each in deliveries]


BODIES = [
    (post.body, [(b"content-type", post.content_type.encode())])
    for post in posts_of(SimulateOptions(count=400, seed=11))
]


def test_simulated_posts_are_stored_and_answered_alike_and_nearly_all_are_usual() -> None:
    taken = 0
    for body, headers in BODIES:
        one, other = ways(), ways()
        answer = asyncio.run(usual(one, body, headers))
        if answer is None:
            assert stored(one) == []
            continue
        taken += 1
        assert answer == asyncio.run(general(other, body, headers))
        assert stored(one) == stored(other) != []
    # The others are arrays.
    assert taken > 0.9 * len(BODIES)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (json.dumps([CDR]).encode(), JSON),
        (json.dumps({"test": True}).encode(), JSON),
        (json.dumps({**CDR, "ivruniqueid": ""}).encode(), JSON),
        (json.dumps({"type": 1, "status": 2, "caller": 3}).encode(), JSON),
        (b"nonsense", JSON),
        (b"", JSON),
        (b"[]", JSON),
        (json.dumps({**CDR, "x": "y" * LARGE_BYTES}).encode(), JSON),
        (json.dumps(CDR).encode(), [*JSON, (b"content-encoding", b"gzip")]),
        (json.dumps(CDR).encode(), [(b"content-encoding", b"identity")]),
        (json.dumps(CDR).encode(), [*JSON, *JSON]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_not_usual_is_left_alone(body: bytes, headers: Headers) -> None:
    way = ways()
    assert asyncio.run(usual(way, body, headers)) is None
    assert (way.store.jobs, way.admission.requests, way.admission.bytes) == ([], 0, 0)


@pytest.mark.parametrize("target", [b"/cdr/wrong-secret-of-nobody", b"/cdr", b"/", TARGET + b"?x=1", b"/cdr/\xff"])
def test_another_address_is_left_alone(target: bytes) -> None:
    assert asyncio.run(usual(ways(), json.dumps(CDR).encode(), JSON, target)) is None


@pytest.mark.parametrize("settings", [{"receiver_debug": True}, {"max_body_bytes": 1024}])
def test_settings_that_ask_for_more_are_left_to_the_general_way(settings: dict[str, Any]) -> None:
    body = json.dumps({**CDR, "x": "y" * 1024}).encode()
    assert asyncio.run(usual(ways(**settings), body, JSON)) is None


def test_a_post_that_is_one_too_many_is_left_to_the_general_way() -> None:
    way = ways()
    way.admission.requests = 10**9
    assert asyncio.run(usual(way, json.dumps(CDR).encode(), JSON)) is None


def test_a_receiver_that_stops_leaves_it_to_the_general_way() -> None:
    async def after_the_stop(way: Way) -> bool:
        await way.commit.stop()
        return way.usual.take(TARGET, JSON, json.dumps(CDR).encode(), lambda _: None)

    way = ways()
    assert asyncio.run(after_the_stop(way)) is False
    assert way.admission.requests == 0


def test_what_cannot_be_stored_is_to_be_sent_again_and_is_in_flight_no_more() -> None:
    one, other = ways(Store(works=False)), ways(Store(works=False))
    body = json.dumps(CDR).encode()
    answer = asyncio.run(usual(one, body, JSON))
    assert answer == asyncio.run(general(other, body, JSON))
    assert answer is not None
    assert answer.status == 503
    assert (one.admission.requests, one.admission.bytes) == (0, 0)
    assert 'cdr_received_total{format="json",result="unavailable"} 1.0' in one.metrics.text(None, None).decode()


def test_while_it_waits_it_is_in_flight_with_its_bytes() -> None:
    async def scenario(way: Way, body: bytes) -> tuple[int, int]:
        assert way.usual.take(TARGET, JSON, body, lambda _: None)
        during = way.admission.requests, way.admission.bytes
        await way.commit.start()
        await way.commit.stop()
        return during

    way, body = ways(), json.dumps(CDR).encode()
    assert asyncio.run(scenario(way, body)) == (1, len(body))
    assert (way.admission.requests, way.admission.bytes) == (0, 0)
    assert "cdr_ack_seconds_count 1.0" in way.metrics.text(None, None).decode()


def test_a_bug_in_reading_is_left_to_the_general_way_which_keeps_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr("api.usual_post.read_body", broken)
    way = ways()
    assert asyncio.run(usual(way, json.dumps(CDR).encode(), JSON)) is None
    assert way.admission.requests == 0
