"""What the endpoint does with a sender that hangs up, which no HTTP client of a test can watch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from api.admission import Admission
from api.group_commit import GroupCommit
from api.guards import Accounts
from api.metrics import Metrics
from api.receive_cdr import ReceiveCdr
from common.job_queue import NewJob
from common.settings import ReceiverSettings


class FakeStore:
    """Remembers what was written, once it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.jobs: list[NewJob] = []

    async def write(self, jobs: Sequence[NewJob]) -> None:
        await self.go.wait()
        self.jobs.extend(jobs)


def endpoint_of(admission: Admission, commit: GroupCommit, metrics: Metrics) -> ReceiveCdr:
    settings = ReceiverSettings()
    return ReceiveCdr(settings, Accounts(settings), admission, commit, metrics)


def scope() -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path_params": {}, "headers": [], "query_string": b""}


async def posted(body: bytes) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": False}


def test_a_sender_that_hangs_up_amid_its_body_is_counted_and_not_answered() -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    sent: list[Any] = []
    metrics = Metrics()
    asyncio.run(endpoint_of(Admission(), GroupCommit(FakeStore()), metrics)(scope(), gone, sent.append))
    assert sent == []
    assert 'cdr_received_total{format="none",result="sender_gone"} 1.0' in metrics.text(None, None).decode()


def test_a_request_that_is_cancelled_while_its_group_is_written_is_stored() -> None:
    async def scenario() -> list[str]:
        store = FakeStore()
        commit = GroupCommit(store)
        await commit.start()
        endpoint = endpoint_of(Admission(), commit, Metrics())
        request = asyncio.create_task(endpoint(scope(), lambda: posted(b'{"ivruniqueid": "x"}'), None))
        for _ in range(10):
            await asyncio.sleep(0)
        request.cancel()
        store.go.set()
        await commit.stop()
        return [job.description for job in store.jobs]

    assert asyncio.run(scenario()) == ["load 1"]


async def replies(admission: Admission, body: bytes) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await endpoint_of(admission, GroupCommit(FakeStore()), Metrics())(scope(), lambda: posted(body), send)
    return sent


def test_a_request_beyond_what_may_be_in_flight_is_to_be_sent_again() -> None:
    start, body = asyncio.run(replies(Admission(max_requests=0), b'{"ivruniqueid": "x"}'))
    assert start["status"] == 503
    assert (b"retry-after", b"10") in start["headers"]
    assert (b"connection", b"close") in start["headers"]
    assert json.loads(body["body"]) == {"err": "2", "errdesc": "try again"}
