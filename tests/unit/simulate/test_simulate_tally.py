from __future__ import annotations

import io

import pytest

from cdr.simulate import tally as tally_module
from cdr.simulate.tally import Refusals, Tally
from cdr.simulate.traffic import SentCdr

ONE = SentCdr("20260101", "Queue", 1536855354, "", "AAPINFzL")
TWO = ONE._replace(call_type="XferCDR")


def test_an_acked_cdr_is_one_line_however_often_it_is_acked() -> None:
    file = io.StringIO()
    tally = Tally(file)
    tally.note([ONE, TWO], "acked")
    tally.note([ONE], "acked")
    assert file.getvalue() == "20260101\tQueue\t1536855354\t\tAAPINFzL\n20260101\tXferCDR\t1536855354\t\tAAPINFzL\n"


def test_a_cdr_that_is_acked_at_last_is_acked() -> None:
    tally = Tally()
    for outcome in ("sent", "failed", "sent", "quarantined", "acked", "sent", "failed"):
        tally.note([ONE], outcome)
    assert (tally.sent, tally.acked) == (1, 1)


def test_the_summary_accounts_for_every_cdr_once() -> None:
    tally = Tally()
    for number, outcome in enumerate(["acked", "acked", "quarantined", "failed", "sent"]):
        cdr = ONE._replace(time=number)
        tally.note([cdr], "sent")
        tally.note([cdr], outcome)
    assert tally.summary(2.0) == "sent 5, acked 2, quarantined 1, failed 2, 2.00 s, 2 CDR/s"


def test_a_summary_of_nothing_is_zeros() -> None:
    assert Tally().summary(0.0) == "sent 0, acked 0, quarantined 0, failed 0, 0.00 s, 0 CDR/s"


def test_old_cdrs_are_forgotten_but_stay_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_module, "_REMEMBERED", 10)
    tally = Tally()
    for time in range(100):
        tally.note([ONE._replace(time=time)], "acked")
    assert tally.acked == 100
    assert len(tally._outcomes) == 10


def test_refusals_are_counted_by_reason_and_the_first_few_told_at_once() -> None:
    told: list[str] = []
    refusals = Refusals(told.append)
    for reason in ["HTTP 503", "timed out", "timed out", "HTTP 404", "timed out"]:
        refusals.note(reason)
    assert told == ["not acked: HTTP 503", "not acked: timed out", "not acked: timed out"]
    assert refusals.lines() == ["3 not acked: timed out", "1 not acked: HTTP 503", "1 not acked: HTTP 404"]


def test_however_many_reasons_there_are_20_are_remembered() -> None:
    refusals = Refusals(lambda _: None)
    for number in range(100):
        refusals.note(f"reason {number}")
    refusals.note("reason 3")
    lines = refusals.lines()
    assert len(lines) == 21
    assert lines[:2] == ["80 not acked: other reasons", "2 not acked: reason 3"]
