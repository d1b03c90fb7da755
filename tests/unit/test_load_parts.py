"""That a work is done beside a block, that its failure comes to whoever began it, and that it ends what was to follow."""

from __future__ import annotations

import threading
import time

import pytest

from common.delivery import Delivery
from common.postgres import Database
from common.settings import AccountDefaults
from worker import load_parts
from worker.accounts import Accounts
from worker.extension_directory import ExtensionDirectory
from worker.load_parts import Parts, beside
from worker.pipeline import Knowledge

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


def test_no_part_is_begun_after_one_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[object] = []

    def load_all(*arguments: object) -> None:
        begun.append(arguments)
        if len(begun) == 1:
            fail()
        # The thread of the first part is on its way to say so.
        time.sleep(1)

    monkeypatch.setattr(load_parts, "PART_CDRS", 1)
    monkeypatch.setattr(load_parts, "load_all", load_all)
    deliveries = [Delivery(name, 0, 1, "default", "json", {"ivruniqueid": name}) for name in "abcdefgh"]
    parts = Parts(deliveries, Knowledge(Accounts(AccountDefaults()), ExtensionDirectory()))
    nowhere = Database("postgresql://nowhere.invalid", "a test that connects to nothing")
    with pytest.raises(ZeroDivisionError):
        parts.load(nowhere, nowhere)
    assert len(begun) <= 2
