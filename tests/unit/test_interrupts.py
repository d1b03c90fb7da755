from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from threading import Timer

import pytest

from cdr.interrupts import interruption_noted

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def handlers_put_back() -> Iterator[None]:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    yield
    for number, handler in zip(STOP_SIGNALS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_raises_where_it_is_asked_for_and_nowhere_else(number: signal.Signals) -> None:
    with interruption_noted() as interruption:
        interruption.check()
        os.kill(os.getpid(), number)
        assert interruption.came
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
        with pytest.raises(KeyboardInterrupt):
            interruption.sleep(-1)


def test_the_first_signal_is_noted_and_more_of_them_change_nothing_to_the_end() -> None:
    with interruption_noted() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    assert interruption.came


def test_a_signal_ends_a_sleep() -> None:
    with interruption_noted() as interruption:
        timer = Timer(0.05, os.kill, [os.getpid(), signal.SIGTERM])
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            interruption.sleep(300)
        timer.join()
    assert time.monotonic() - began < 60


def test_without_a_signal_a_sleep_lasts_and_the_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with interruption_noted() as interruption:
        began = time.monotonic()
        interruption.sleep(0.25)
        assert time.monotonic() - began >= 0.25
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before
