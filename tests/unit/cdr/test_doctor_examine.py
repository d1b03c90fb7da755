"""Checks run each for itself: neither a bug, nor a hanging subject, nor another clock keeps the others from being told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import pytest

from cdr.doctor.clock import clock_finding
from cdr.doctor.examine import Section, examine
from cdr.doctor.finding import Finding, info, ok
from common.errors import QueueUnavailable


def fail(_: object) -> Finding:
    raise ZeroDivisionError("a bug\nof ours")


def found(*sections: Section[None], seconds: float = 60) -> list[tuple[str, str, str]]:
    return [(each.check, each.status, each.detail) for each in examine(sections, seconds)]


def section(**checks: Callable[[None], Finding]) -> Section[None]:
    return Section(lambda: nullcontext(None), checks)


def test_findings_come_in_the_order_of_the_checks() -> None:
    slow = section(one=lambda _: time.sleep(0.05) or ok("a"), two=lambda _: ok("b"))
    assert found(slow, section(three=lambda _: ok("c"))) == [
        ("one", "ok", "a"),
        ("two", "ok", "b"),
        ("three", "ok", "c"),
    ]


def test_a_bug_in_a_check_is_its_own_finding() -> None:
    told = found(section(one=fail, two=lambda _: ok("b")))
    assert told == [("one", "problem", "cannot be checked: ZeroDivisionError: a bug of ours"), ("two", "ok", "b")]


def test_a_subject_that_is_away_is_told_once() -> None:
    @contextmanager
    def away() -> Iterator[None]:
        raise QueueUnavailable("Redis: refused")
        yield

    told = found(Section(away, {"one": lambda _: ok("a"), "two": lambda _: ok("b")}), section(three=lambda _: ok("c")))
    assert told == [
        ("one", "problem", "Redis: refused"),
        ("two", "info", "not checked: see one"),
        ("three", "ok", "c"),
    ]


def test_a_subject_that_need_not_be_checked_says_so_for_every_check() -> None:
    told = found(Section(lambda: nullcontext(info("not set here")), {"one": fail, "two": fail}))
    assert told == [("one", "info", "not set here"), ("two", "info", "not set here")]


def test_a_check_that_hangs_is_given_up_and_named() -> None:
    release = threading.Event()
    hanging = section(one=lambda _: ok("a"), two=lambda _: ok(str(release.wait(60))), three=lambda _: ok("c"))
    told = found(hanging, section(four=lambda _: ok("d")), seconds=0.2)
    release.set()
    assert told == [
        ("one", "ok", "a"),
        ("two", "problem", "no answer within 0.2 s"),
        ("three", "info", "not checked: see two"),
        ("four", "ok", "d"),
    ]


@pytest.mark.parametrize(
    ("off", "status", "detail"),
    [
        (0.0, "ok", "0.0 s off this machine's"),
        (4.0, "ok", "4.0 s off this machine's"),
        (60.4, "warning", "60 s ahead of this machine's"),
        (-60.4, "warning", "60 s behind this machine's"),
    ],
)
def test_a_clock_that_is_off_is_a_warning(off: float, status: str, detail: str) -> None:
    finding = clock_finding(lambda: time.time() + off)
    assert (finding.status, finding.detail) == (status, detail)


def test_a_slow_answer_is_no_wrong_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 120.0])
    monkeypatch.setattr("cdr.doctor.clock.time.time", lambda: next(now))
    assert clock_finding(lambda: 110.0).detail == "0.0 s off this machine's"
