"""That a work is done beside a block, and that its failure comes to whoever began it."""

from __future__ import annotations

import threading

import pytest

from worker.load_parts import beside

LONGEST_SECONDS = 30.0


def test_a_work_is_done_while_the_block_goes_on() -> None:
    goes_on = threading.Event()
    with beside(lambda: None if goes_on.wait(LONGEST_SECONDS) else pytest.fail("the block waited")):
        goes_on.set()


def test_the_block_ends_when_the_work_is_done() -> None:
    may_end = threading.Event()
    done: list[int] = []

    def work() -> None:
        may_end.wait(LONGEST_SECONDS)
        done.append(1)

    with beside(work):
        threading.Timer(0.05, may_end.set).start()
    assert done == [1]


def fail() -> None:
    raise ZeroDivisionError


def test_what_the_work_raises_the_end_of_the_block_raises() -> None:
    done: list[int] = []
    with pytest.raises(ZeroDivisionError), beside(fail):
        done.append(1)
    assert done == [1]


def test_a_block_that_fails_waits_for_the_work_and_raises_what_is_its_own() -> None:
    may_end = threading.Event()
    done: list[int] = []

    def work() -> None:
        may_end.wait(LONGEST_SECONDS)
        done.append(1)
        fail()

    def use() -> None:
        with beside(work):
            threading.Timer(0.05, may_end.set).start()
            raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"):
        use()
    assert done == [1]


def test_a_block_that_is_broken_off_waits_for_nothing() -> None:
    may_end = threading.Event()

    def use() -> None:
        with beside(lambda: None if may_end.wait(LONGEST_SECONDS) else pytest.fail("it was waited for")):
            raise SystemExit

    with pytest.raises(SystemExit):
        use()
    assert not may_end.is_set()
    may_end.set()
