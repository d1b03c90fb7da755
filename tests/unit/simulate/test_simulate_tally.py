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
        if outcome != "sent":
            tally.note([cdr], outcome)
    assert tally.summary(2.0) == "CDRs: sent 5, acked 2, quarantined 1, failed 2; posts: 5; 2.00 s, 2 CDR/s"


def test_an_array_is_one_post_of_several_cdrs_and_a_second_delivery_one_more_of_none() -> None:
    tally = Tally()
    for cdrs in ([ONE, TWO], [TWO]):
        tally.note(cdrs, "sent")
        tally.note(cdrs, "acked")
    assert (tally.posts, tally.sent, tally.acked) == (2, 2, 2)
    tally.note([ONE._replace(time=number) for number in range(3)], "sent")
    assert (tally.posts, tally.sent) == (3, 5)
    assert tally.summary(1.0) == "CDRs: sent 5, acked 2, quarantined 0, failed 3; posts: 3; 1.00 s, 5 CDR/s"


def test_a_summary_of_nothing_is_zeros() -> None:
    assert Tally().summary(0.0) == "CDRs: sent 0, acked 0, quarantined 0, failed 0; posts: 0; 0.00 s, 0 CDR/s"


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
    assert told == ["post not acked: HTTP 503", "post not acked: timed out", "post not acked: timed out"]
    assert refusals.lines() == [
        "posts not acked: 3, timed out",
        "posts not acked: 1, HTTP 503",
        "posts not acked: 1, HTTP 404",
    ]


def test_however_many_reasons_there_are_20_are_remembered() -> None:
    refusals = Refusals(lambda _: None)
    for number in range(100):
        refusals.note(f"reason {number}")
    refusals.note("reason 3")
    lines = refusals.lines()
    assert len(lines) == 21
    assert lines[:2] == ["posts not acked: 80, other reasons", "posts not acked: 2, reason 3"]
