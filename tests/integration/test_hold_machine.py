"""Whatever two workers, the sweep and people do, in whatever order: each job is in one place, and in the end it was run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from loading import delivery, leg

from common.failed_index import index_key
from common.job_queue import CDRS, LOAD_CDRS, NewJob, failed_key, intermediate_key, job_key, queue_key, scheduled_key
from common.queue_format import finished_key, lease_key, started_key
from common.requeue import move_due_to_queue, move_to_queue
from worker import orphans
from worker.holds import Hold, holders_key
from worker.orphans import OrphanFinder
from worker.outbox import enqueue
from worker.sweep import seen_key, sweep

WORKERS = st.integers(0, 1)
SORTED_SETS = (lease_key, failed_key, scheduled_key, finished_key)


def job_called(job_id: str) -> NewJob:
    return NewJob(CDRS, LOAD_CDRS, ([delivery(leg("x")), delivery(leg("y"))],), "load", job_id)


class Worker:
    """A worker as the scripts see it: what it has taken, and what it believes to hold."""

    def __init__(self) -> None:
        self.taken: str | None = None
        self.hold: Hold | None = None
        self.jobs: list[str] = []
        self.started: set[str] = set()


class Pipeline(RuleBasedStateMachine):
    """The steps of two workers, the scheduler and people, each atomic, in any order."""

    connection: Any

    def __init__(self) -> None:
        super().__init__()
        self.connection.flushall()
        self.workers = [Worker(), Worker()]
        self.made = 0
        self.jobs: set[str] = set()
        self.ended: set[str] = set()
        # What stock `rq requeue` has taken out of the failed jobs and not queued yet.
        self.halfway: list[str] = []
        self.doubled = False
        # Who holds what, as long as nobody has stalled.
        self.owners: dict[str, str] = {}
        self.finder = OrphanFinder(self.connection)
        for _ in range(3):
            self.receive()

    def _new_job(self) -> NewJob:
        """Return a job whose id is the same in the same run, because Redis sorts by it."""
        self.made += 1
        return job_called(f"job-{self.made}")

    def any_worker(self, number: int, *, taken: bool = False, holding: bool = False) -> int:
        """Return this worker's number if it is where it should be, or the other's."""
        return number if self._fits(number, taken=taken, holding=holding) else 1 - number

    def some_worker(self, *, taken: bool = False, holding: bool = False) -> bool:
        return any(self._fits(number, taken=taken, holding=holding) for number in (0, 1))

    def _fits(self, number: int, *, taken: bool, holding: bool) -> bool:
        worker = self.workers[number]
        return (worker.taken is not None, worker.hold is not None) == (taken, holding)

    # The receiver.

    @precondition(lambda self: len(self.jobs) < 8)
    @rule()
    def receive(self) -> None:
        job = self._new_job()
        enqueue(self.connection, [job])
        self.jobs.add(job.job_id)

    @precondition(lambda self: len(self.jobs) < 8)
    @rule(due=st.sampled_from([1.0, 9e9]))
    def schedule(self, due: float) -> None:
        job = self._new_job()
        for command in job.scheduled_commands(scheduled_key(CDRS), due):
            self.connection.execute_command(*command)
        self.jobs.add(job.job_id)

    # A worker. Any of its steps may come late, after the sweep has given its jobs away.

    @precondition(lambda self: self.some_worker() and self.connection.llen(queue_key(CDRS)))
    @rule(number=WORKERS)
    def take(self, number: int) -> None:
        job_id = self.connection.lmove(queue_key(CDRS), intermediate_key(CDRS)).decode()
        if self.connection.exists(job_key(job_id)):
            self.workers[self.any_worker(number)].taken = job_id
        else:
            # A second copy of what is done already: `CdrQueue` finds no hash and drops the id.
            self.connection.lrem(intermediate_key(CDRS), 1, job_id)

    @precondition(lambda self: self.some_worker(taken=True))
    @rule(number=WORKERS, room=st.sampled_from([0, 2, 4]))
    def lease(self, number: int, room: int) -> None:
        number = self.any_worker(number, taken=True)
        hold = Hold(self.connection, CDRS)
        others = {
            job_id.decode() for job_id in self.connection.zrangebyscore(lease_key(CDRS), f"({time.time()}", "+inf")
        }
        jobs = hold.take(str(self.workers[number].taken), room)
        assert not others & set(jobs), "taken from somebody who lives"
        self.owners |= {job_id: hold.token for job_id in jobs if self.connection.exists(job_key(job_id))}
        self.workers[number] = Worker()
        if jobs:
            self.workers[number].hold, self.workers[number].jobs = hold, jobs

    @precondition(lambda self: self.some_worker(holding=True))
    @rule(number=WORKERS)
    def renew(self, number: int) -> None:
        self._holder(number).renew()

    @precondition(lambda self: self.some_worker(holding=True))
    @rule(number=WORKERS)
    def start(self, number: int) -> None:
        worker = self.workers[self.any_worker(number, holding=True)]
        if self._holder(number).start(worker.jobs[0], "a worker"):
            worker.started.add(worker.jobs[0])

    @precondition(lambda self: self.some_worker(holding=True))
    @rule(number=WORKERS)
    def load_and_finish(self, number: int) -> None:
        number = self.any_worker(number, holding=True)
        worker, hold = self.workers[number], self._holder(number)
        self._gives_up(number, worker.jobs)
        self.ended.update(worker.jobs)
        hold.finish_together([job_id for job_id in worker.jobs if job_id not in worker.started], "rq:worker:a")
        for job_id in worker.started:
            hold.finish(job_id, "rq:worker:a")
        self.workers[number] = Worker()

    @precondition(lambda self: self.some_worker(holding=True))
    @rule(number=WORKERS)
    def fail(self, number: int) -> None:
        number = self.any_worker(number, holding=True)
        job_id = self.workers[number].jobs[0]
        self._gives_up(number, [job_id])
        self._holder(number).fail(job_id, "rq:worker:a", b"{}", time.time(), {"type": 2})
        self._next_job(number)

    @precondition(lambda self: self.some_worker(holding=True) and len(self.jobs) < 10)
    @rule(number=WORKERS)
    def split(self, number: int) -> None:
        number = self.any_worker(number, holding=True)
        job_id, halves = self.workers[number].jobs[0], [self._new_job(), self._new_job()]
        if job_id not in self.workers[number].started:
            self._gives_up(number, [job_id])
            if self._holder(number).replace(job_id, halves):
                self.ended.add(job_id)
                self.jobs.update(half.job_id for half in halves)
            self._next_job(number)

    @precondition(lambda self: self.some_worker(holding=True))
    @rule(number=WORKERS, last=st.booleans())
    def put_back(self, number: int, *, last: bool) -> None:
        number = self.any_worker(number, holding=True)
        self._gives_up(number, self.workers[number].jobs)
        self._holder(number).put_back(self.workers[number].jobs, last=last)
        self.workers[number] = Worker()

    @precondition(lambda self: self.some_worker(holding=True) or self.some_worker(taken=True))
    @rule(number=WORKERS)
    def die(self, number: int) -> None:
        self.workers[number] = Worker()

    def _holder(self, number: int) -> Hold:
        hold = self.workers[self.any_worker(number, holding=True)].hold
        assert hold is not None
        return hold

    def _gives_up(self, number: int, job_ids: list[str]) -> None:
        token = self._holder(number).token
        self.owners = {each: owner for each, owner in self.owners.items() if each not in job_ids or owner != token}

    def _next_job(self, number: int) -> None:
        worker = self.workers[number]
        job_id = worker.jobs.pop(0)
        worker.started.discard(job_id)
        if not worker.jobs:
            self.workers[number] = Worker()

    # Time, the scheduler and people.

    @rule()
    def a_leases_time_passes(self) -> None:
        for key in (lease_key(CDRS), seen_key(CDRS, "taken"), seen_key(CDRS, "started")):
            for name in self.connection.zrange(key, 0, -1):
                self.connection.zadd(key, {name: 1})

    @rule()
    def everybody_stalls(self) -> None:
        self.sweep()
        self.a_leases_time_passes()
        self.sweep()

    @precondition(lambda self: self.some_worker() and self.some_worker(holding=True))
    @rule(late=st.sampled_from(["renew", "start", "fail", "load_and_finish", "die"]))
    def one_stalls_and_its_jobs_go_to_the_other(self, late: str) -> None:
        """And then the one wakes up and goes on."""
        stalled = self.any_worker(0, holding=True)
        self.everybody_stalls()
        if self.connection.llen(queue_key(CDRS)):
            self.take(1 - stalled)
            if self.workers[1 - stalled].taken:
                self.lease(1 - stalled, 4)
                getattr(self, late)(stalled)

    @precondition(lambda self: self.jobs)
    @rule(number=st.integers(0, 9))
    def set_the_same_cdr_aside_again(self, number: int) -> None:
        """A batch that is run twice queues each of its refused CDRs twice, under one id."""
        job_id = sorted(self.jobs)[number % len(self.jobs)]
        if job_id not in self.halfway:
            self.doubled = True
            enqueue(self.connection, [job_called(job_id)])

    @precondition(lambda self: self.some_worker() and self.some_worker(holding=True))
    @rule(number=WORKERS, room=st.sampled_from([0, 4]))
    def one_takes_a_second_copy_of_what_the_other_holds(self, number: int, room: int) -> None:
        job_id = self.workers[self.any_worker(number, holding=True)].jobs[0]
        if job_id not in self.halfway:
            self.doubled = True
            enqueue(self.connection, [job_called(job_id)])
            # It has come to the head of the queue meanwhile.
            self.connection.lmove(queue_key(CDRS), queue_key(CDRS), "RIGHT", "LEFT")
            self.take(number)
            self.lease(number, room)

    @rule()
    def sweep(self) -> None:
        sweep(self.connection)
        leased = {job_id.decode() for job_id in self.connection.zrange(lease_key(CDRS), 0, -1)}
        self.owners = {job_id: owner for job_id, owner in self.owners.items() if job_id in leased}
        move_due_to_queue(self.connection, scheduled_key(CDRS), CDRS, 100)

    @rule()
    def look_for_orphans(self) -> None:
        self.finder.walk()

    @precondition(lambda self: self.connection.zcard(failed_key(CDRS)))
    @rule()
    def replay(self) -> None:
        failed = [job_id.decode() for job_id in self.connection.zrange(failed_key(CDRS), 0, -1)]
        move_to_queue(self.connection, failed_key(CDRS), CDRS, failed, index_key=index_key(CDRS))

    @precondition(lambda self: self.connection.zcard(failed_key(CDRS)))
    @rule()
    def begin_a_stock_requeue(self) -> None:
        for job_id in self.connection.zrange(failed_key(CDRS), 0, 0):
            self.connection.zrem(failed_key(CDRS), job_id)
            self.halfway.append(job_id.decode())

    @precondition(lambda self: self.halfway)
    @rule()
    def end_a_stock_requeue(self) -> None:
        job_id = self.halfway.pop()
        # The finder may have brought it back meanwhile: RQ queues it once more, and writes its hash anew.
        self.doubled = True
        enqueue(self.connection, [job_called(job_id)])

    # What must be so.

    def _places(self, job_id: str) -> int:
        lists = sum(
            self.connection.lrange(key, 0, -1).count(job_id.encode())
            for key in (queue_key(CDRS), intermediate_key(CDRS))
        )
        return lists + sum(self.connection.zscore(name(CDRS), job_id) is not None for name in SORTED_SETS)

    @invariant()
    def no_job_is_lost_or_doubled(self) -> None:
        for job_id in self.jobs - set(self.halfway):
            places = self._places(job_id)
            if self.connection.exists(job_key(job_id)):
                assert places >= 1
                assert places == 1 or self.doubled
            else:
                assert job_id in self.ended
                assert places == 0 or self.doubled

    @invariant()
    def nobody_disturbs_who_holds_a_job(self) -> None:
        for job_id, owner in self.owners.items():
            assert self.connection.hget(holders_key(CDRS), job_id) == owner.encode()
            assert self.connection.zscore(lease_key(CDRS), job_id) is not None
            assert self.connection.hexists(job_key(job_id), "data")

    def teardown(self) -> None:
        """Let all workers die, and one that is well do what is left."""
        self.workers = []
        for _ in range(4):
            self.sweep()
            self.look_for_orphans()
            self.a_leases_time_passes()
            self.sweep()
            self._work_off()
        failed = {job_id.decode() for job_id in self.connection.zrange(failed_key(CDRS), 0, -1)}
        later = {job_id.decode() for job_id in self.connection.zrange(scheduled_key(CDRS), 0, -1)}
        assert self.jobs == self.ended | failed | later
        places = Counter({job_id: self._places(job_id) for job_id in self.jobs})
        assert set(places.values()) <= {0, 1}
        left = (queue_key, intermediate_key, lease_key, holders_key, started_key)
        assert not [name(CDRS) for name in left if self.connection.exists(name(CDRS))]

    def _work_off(self) -> None:
        while job_id := self.connection.lmove(queue_key(CDRS), intermediate_key(CDRS)):
            hold = Hold(self.connection, CDRS)
            jobs = hold.take(job_id.decode(), 0)
            self.ended.update(jobs)
            hold.finish_together(jobs, "rq:worker:a")


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    """A Redis that does not wait for its disk at each of some ten thousand steps: nothing here is cut off."""
    with redis.Redis.from_url(redis_url, socket_timeout=60) as client:
        usual = client.config_get("appendfsync")["appendfsync"]
        client.config_set("appendfsync", "no")
        # So nobody may wait for the disk.
        vars(client)["ack_level"] = "redis"
        yield client
        client.config_set("appendfsync", usual)


# Some 40 s on a quiet machine, and several times that beside others. A time limit that strikes within an example is for
# hypothesis a failure of that example, which it then tries for minutes to meet again.
@pytest.mark.timeout(900)
def test_whatever_happens_each_job_is_in_one_place_and_in_the_end_it_was_run(
    connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is nowhere at two looks is an orphan here, because nothing else happens in between.
    monkeypatch.setattr(orphans, "LEASE_SECONDS", 0)
    machine = type("Connected", (Pipeline,), {"connection": connection})
    run_state_machine_as_test(machine, settings=settings(max_examples=70, stateful_step_count=50))
