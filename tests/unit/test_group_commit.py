"""Posts that wait while a write is under way become one group, and each learns what became of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from api import group_commit
from api.group_commit import Entries, GroupCommit
from common.errors import QueueUnavailable
from common.job_queue import CDRS, KEEP_BODIES, LOAD_CDRS, JobSerializer, NewJob


class FakeStore:
    """A store whose writes wait for the test to let them go, and then succeed, fail or break."""

    def __init__(self, held: bool = False) -> None:
        self.groups: list[list[NewJob]] = []
        self.failure: BaseException | None = None
        self.go = asyncio.Event()
        if not held:
            self.go.set()

    async def write(self, jobs: Sequence[NewJob]) -> None:
        self.groups.append(list(jobs))
        await self.go.wait()
        if self.failure is not None:
            raise self.failure

    def sizes(self) -> list[int]:
        return [sum(len(job.arguments[0]) for job in group) for group in self.groups]


@asynccontextmanager
async def committing(store: FakeStore) -> AsyncIterator[GroupCommit]:
    commit = GroupCommit(store)
    await commit.start()
    try:
        yield commit
    finally:
        store.go.set()
        await commit.stop()


def post(*deliveries: str, bodies: Sequence[str] = ()) -> Entries:
    return Entries([f'"{each}"'.encode() for each in deliveries], [f'"{each}"'.encode() for each in bodies])


async def gathered(commit: GroupCommit, posts: Sequence[Entries]) -> list[asyncio.Task[None]]:
    """Let all posts join the queue, as posts do that arrive while a write is under way."""
    tasks = [asyncio.create_task(commit.store(each)) for each in posts]
    await settle()
    return tasks


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[Any]]) -> Any:
    async def within() -> Any:
        async with asyncio.timeout(20):
            return await test()

    return asyncio.run(within())


def test_an_answer_that_cannot_be_given_keeps_no_other_from_its_own() -> None:
    async def scenario() -> tuple[list[object], list[int]]:
        answers: list[object] = []

        def broken(_error: object) -> None:
            raise RuntimeError("the connection is gone")

        store = FakeStore()
        async with committing(store) as commit:
            commit.submit(post("a"), broken)
            commit.submit(post("b"), answers.append)
            await settle()
            await commit.store(post("c"))
        return answers, store.sizes()

    assert run(scenario) == ([None], [2, 1])


def test_a_lone_post_is_written_at_once() -> None:
    async def scenario() -> list[int]:
        store = FakeStore()
        async with committing(store) as commit:
            await commit.store(post("a"))
            return store.sizes()

    assert run(scenario) == [1]


def test_what_comes_while_a_write_is_under_way_is_the_next_group() -> None:
    async def scenario() -> list[int]:
        store = FakeStore(held=True)
        async with committing(store) as commit:
            first = await gathered(commit, [post("a")])
            others = await gathered(commit, [post(str(number)) for number in range(5)])
            store.go.set()
            await asyncio.gather(*first, *others)
        return store.sizes()

    assert run(scenario) == [1, 5]


def test_nobody_is_told_before_the_write_has_ended() -> None:
    async def scenario() -> bool:
        store = FakeStore(held=True)
        async with committing(store) as commit:
            (task,) = await gathered(commit, [post("a")])
            return task.done()

    assert run(scenario) is False


def test_deliveries_and_bodies_are_jobs_of_their_own() -> None:
    async def scenario() -> list[NewJob]:
        store = FakeStore()
        async with committing(store) as commit:
            await commit.store(post("a", "b", bodies=["c"]))
        return store.groups[0]

    load, keep = run(scenario)
    assert (load.queue, load.function, load.description) == (CDRS, LOAD_CDRS, "load 2")
    assert (keep.queue, keep.function, keep.description) == (CDRS, KEEP_BODIES, "keep 1")
    assert JobSerializer.loads(JobSerializer.dumps(load.arguments)) == [["a", "b"]]


def test_a_group_holds_no_more_cdrs_than_a_job_should(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_GROUP_CDRS", 4)

    async def scenario() -> list[int]:
        store = FakeStore(held=True)
        async with committing(store) as commit:
            tasks = await gathered(commit, [post("a")])
            tasks += await gathered(commit, [post("b"), post("c", "d"), post("e", bodies=["f"]), post("g")])
            store.go.set()
            await asyncio.gather(*tasks)
        return store.sizes()

    assert run(scenario) == [1, 3, 3]


def test_a_group_holds_no_more_bytes_than_a_job_should(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_GROUP_BYTES", 100)

    async def scenario() -> list[int]:
        store = FakeStore(held=True)
        async with committing(store) as commit:
            tasks = await gathered(commit, [post("a")])
            tasks += await gathered(commit, [post("x" * 40), post("x" * 40), post("x" * 40)])
            store.go.set()
            await asyncio.gather(*tasks)
        return store.sizes()

    assert run(scenario) == [1, 2, 1]


def test_a_post_larger_than_a_group_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_GROUP_BYTES", 100)

    async def scenario() -> list[int]:
        store = FakeStore(held=True)
        async with committing(store) as commit:
            tasks = await gathered(commit, [post("a")])
            tasks += await gathered(commit, [post("b"), post("x" * 500), post("c")])
            store.go.set()
            await asyncio.gather(*tasks)
        return store.sizes()

    assert run(scenario) == [1, 1, 1, 1]


def test_an_array_of_10_000_becomes_several_jobs_in_one_write() -> None:
    async def scenario() -> list[list[NewJob]]:
        store = FakeStore()
        async with committing(store) as commit:
            await commit.store(post(*map(str, range(10_000))))
        return store.groups

    (group,) = run(scenario)
    assert [len(job.arguments[0]) for job in group] == [1000] * 10
    assert [each for job in group for each in JobSerializer.loads(JobSerializer.dumps(job.arguments[0]))] == [
        str(number) for number in range(10_000)
    ]


def test_posts_are_written_in_the_order_in_which_they_came() -> None:
    async def scenario() -> list[str]:
        store = FakeStore(held=True)
        async with committing(store) as commit:
            tasks = await gathered(commit, [post(str(number)) for number in range(50)])
            store.go.set()
            await asyncio.gather(*tasks)
        jobs = [job for group in store.groups for job in group]
        return [each for job in jobs for each in JobSerializer.loads(JobSerializer.dumps(job.arguments[0]))]

    assert run(scenario) == [str(number) for number in range(50)]


def test_a_failure_is_told_to_every_waiter() -> None:
    async def scenario() -> list[str]:
        store = FakeStore(held=True)
        async with committing(store) as commit:
            tasks = await gathered(commit, [post("a")])
            tasks += await gathered(commit, [post(str(number)) for number in range(3)])
            store.failure = QueueUnavailable("Redis is away")
            store.go.set()
            return [str(each) for each in await asyncio.gather(*tasks, return_exceptions=True)]

    assert run(scenario) == ["Redis is away"] * 4


def test_after_a_failure_the_next_group_is_written() -> None:
    async def scenario() -> list[int]:
        store = FakeStore()
        async with committing(store) as commit:
            store.failure = QueueUnavailable("Redis is away")
            with pytest.raises(QueueUnavailable):
                await commit.store(post("a"))
            store.failure = None
            await commit.store(post("b"))
        return store.sizes()

    assert run(scenario) == [1, 1]


@pytest.mark.parametrize("failure", [None, QueueUnavailable("Redis is away")])
def test_a_sender_that_hung_up_harms_nobody_and_is_stored(failure: QueueUnavailable | None) -> None:
    async def scenario() -> tuple[list[int], str]:
        store = FakeStore(held=True)
        async with committing(store) as commit:
            gone, stays = await gathered(commit, [post("a"), post("b")])
            gone.cancel()
            await settle()
            store.failure = failure
            store.go.set()
            outcome = await asyncio.gather(stays, return_exceptions=True)
        return store.sizes(), str(outcome[0])

    assert run(scenario) == ([2], str(failure))


def test_stop_writes_what_waits() -> None:
    async def scenario() -> tuple[list[int], list[bool]]:
        store = FakeStore(held=True)
        async with committing(store) as commit:
            tasks = await gathered(commit, [post("a")])
            tasks += await gathered(commit, [post("b"), post("c")])
        await settle()
        return store.sizes(), [task.done() and task.exception() is None for task in tasks]

    assert run(scenario) == ([1, 2], [True, True, True])


def test_what_comes_after_the_stop_is_to_come_again() -> None:
    async def scenario() -> None:
        async with committing(FakeStore()) as commit:
            pass
        await commit.store(post("a"))

    with pytest.raises(QueueUnavailable, match="stopping"):
        run(scenario)


def test_a_writer_that_never_started_stops() -> None:
    run(lambda: GroupCommit(FakeStore()).stop())


def test_after_a_crowd_the_writer_lingers_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    # Long enough that the test sees the group form, short enough that nobody waits for it.
    monkeypatch.setattr(group_commit, "LINGER_SECONDS", 0.05)

    async def scenario() -> list[int]:
        store = FakeStore(held=True)
        async with committing(store) as commit:
            crowd = await gathered(commit, [post(str(number)) for number in range(20)])
            store.go.set()
            await asyncio.gather(*crowd)
            tasks = await gathered(commit, [post("a")])
            tasks += await gathered(commit, [post("b")])
            await asyncio.gather(*tasks)
        return store.sizes()

    assert run(scenario) == [20, 2]


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    raised: list[int] = []
    monkeypatch.setattr(
        group_commit, "signal", type("S", (), {"SIGTERM": signal.SIGTERM, "raise_signal": raised.append})
    )
    return raised


async def broken(bug: BaseException, first: int = 1, waiting: int = 2) -> tuple[GroupCommit, list[str]]:
    """Let a write die of a bug; return what those in it and those behind it were told."""
    store = FakeStore(held=True)
    commit = GroupCommit(store)
    await commit.start()
    tasks = await gathered(commit, [post("a") for _ in range(first)])
    tasks += await gathered(commit, [post("b") for _ in range(waiting)])
    store.failure = bug
    store.go.set()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    await settle()
    return commit, [repr(each) for each in told]


def test_a_bug_in_the_store_ends_the_process(signals: list[int]) -> None:
    run(lambda: broken(ZeroDivisionError()))
    assert signals == [signal.SIGTERM]


def test_a_bug_in_the_store_is_told_to_those_in_the_group_and_behind_it(signals: list[int]) -> None:
    _, told = run(lambda: broken(ZeroDivisionError()))
    assert told == ["QueueUnavailable('the writer ended')"] * 3


def test_after_a_bug_nobody_waits_for_ever(signals: list[int]) -> None:
    async def scenario() -> None:
        commit, _ = await broken(ZeroDivisionError())
        await commit.store(post("c"))

    with pytest.raises(QueueUnavailable):
        run(scenario)


def test_a_bug_while_stopping_is_told_and_raises_no_second_signal(signals: list[int]) -> None:
    async def scenario() -> list[str]:
        store = FakeStore(held=True)
        commit = GroupCommit(store)
        await commit.start()
        tasks = await gathered(commit, [post("a")])
        tasks += await gathered(commit, [post("b")])
        store.failure = ZeroDivisionError()
        stopping = asyncio.create_task(commit.stop())
        await settle()
        store.go.set()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(ZeroDivisionError):
            await stopping
        return [repr(each) for each in told]

    assert run(scenario) == ["QueueUnavailable('the writer ended')"] * 2
    assert signals == []


def test_a_cancelled_writer_leaves_nobody_waiting(signals: list[int]) -> None:
    async def scenario() -> list[str]:
        commit = GroupCommit(FakeStore(held=True))
        await commit.start()
        tasks = await gathered(commit, [post("a")])
        tasks += await gathered(commit, [post("b")])
        assert commit._task is not None
        commit._task.cancel()
        return [repr(each) for each in await asyncio.gather(*tasks, return_exceptions=True)]

    assert run(scenario) == ["QueueUnavailable('the writer ended')"] * 2
    assert signals == []
