"""That one thing is done at a time, beside its user, and that its failure comes to whoever uses it."""

from __future__ import annotations

import threading

import pytest

from worker.side_thread import SideThread

LONGEST_SECONDS = 30.0


def test_a_work_is_done_while_its_user_goes_on() -> None:
    may_end = threading.Event()
    with SideThread() as side:
        side.do(lambda: None if may_end.wait(LONGEST_SECONDS) else pytest.fail("its user waited"))
        may_end.set()


def test_the_block_ends_when_all_is_done_in_its_order() -> None:
    done: list[int] = []
    with SideThread() as side:
        for number in range(5):
            side.do(lambda number=number: done.append(number))  # type: ignore[misc]
    assert done == list(range(5))


def fail() -> None:
    raise ZeroDivisionError


def test_what_a_work_raises_the_next_raises_and_is_not_begun() -> None:
    done: list[int] = []

    def use() -> None:
        with SideThread() as side:
            side.do(fail)
            side.do(lambda: done.append(1))

    with pytest.raises(ZeroDivisionError):
        use()
    assert done == []


def test_what_the_last_work_raises_the_end_raises() -> None:
    with pytest.raises(ZeroDivisionError), SideThread() as side:
        side.do(fail)


def test_a_block_that_fails_waits_for_the_work_under_way() -> None:
    may_end = threading.Event()
    done: list[int] = []

    def work() -> None:
        may_end.wait(LONGEST_SECONDS)
        done.append(1)

    def use() -> None:
        with SideThread() as side:
            side.do(work)
            threading.Timer(0.05, may_end.set).start()
            raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"):
        use()
    assert done == [1]


def test_a_block_that_fails_before_any_work_just_fails() -> None:
    with pytest.raises(ValueError, match="of the block"), SideThread():
        raise ValueError("of the block")


def test_a_block_that_is_broken_off_waits_for_nothing() -> None:
    may_end = threading.Event()

    def use() -> None:
        with SideThread() as side:
            side.do(lambda: None if may_end.wait(LONGEST_SECONDS) else pytest.fail("it was waited for"))
            raise SystemExit

    with pytest.raises(SystemExit):
        use()
    assert not may_end.is_set()
    may_end.set()
