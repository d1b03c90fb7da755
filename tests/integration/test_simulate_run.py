from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
import urllib3
from fake_receiver import FakeReceiver, Reply, Request, fake_receiver

from cdr.simulate import run
from cdr.simulate.recordings import is_late, serve_recordings
from cdr.simulate.run import SimulateOptions, posts_of, run_simulation
from common.errors import ConfigurationError
from worker.recordings.audio_kind import AudioKind, audio_kind

Summary = dict[str, float]


@pytest.fixture
def signals() -> Iterator[None]:
    """Put back the handlers of the signals, which an interrupted run leaves ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_a_run_that_ends_by_itself_puts_the_signals_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with fake_receiver() as receiver:
        run_simulation(SimulateOptions(receiver.url, count=1, seed=1))
    assert signal.getsignal(signal.SIGINT) is before


def summary(capsys: pytest.CaptureFixture[str]) -> Summary:
    """Read the last line of output: `CDRs: sent 3, acked 3, ...; posts: 2; 0.1 s, 30 CDR/s`."""
    (line,) = capsys.readouterr().out.splitlines()
    cdrs, posts, pace = line.split("; ")
    seconds, rate = pace.split(", ")
    named = {name: float(count) for name, count in (part.split() for part in cdrs.removeprefix("CDRs: ").split(", "))}
    return named | {
        "posts": float(posts.removeprefix("posts: ")),
        "seconds": float(seconds.removesuffix(" s")),
        "rate": float(rate.removesuffix(" CDR/s")),
    }


def expected_lines(options: SimulateOptions) -> set[str]:
    return {"\t".join(map(str, cdr)) for post in posts_of(options) for cdr in post.cdrs}


def test_all_is_acked_and_written_once_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_receiver() as receiver:
        options = SimulateOptions(receiver.url, count=500, seed=4, acked=tmp_path / "acked")
        assert run_simulation(options) == 0
    lines = (tmp_path / "acked").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 500
    assert set(lines) == expected_lines(options)
    counts = summary(capsys)
    assert (counts["sent"], counts["acked"], counts["quarantined"], counts["failed"]) == (500, 500, 0, 0)


def test_the_bodies_of_a_seed_are_what_is_posted(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_receiver() as receiver:
        options = SimulateOptions(receiver.url, count=200, seed=9)
        run_simulation(options)
    posted = sorted((request.body, request.content_type) for request in receiver.requests)
    assert posted == sorted((post.body, post.content_type) for post in posts_of(options))
    assert {request.path for request in receiver.requests} == {"/cdr/a-secret-of-a-test"}


def test_posts_are_counted_beside_the_cdrs_that_arrays_and_second_deliveries_carry(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def busy_at_first(number: int, _request: Request) -> Reply:
        return Reply(503, 2) if number == 0 else Reply()

    options = SimulateOptions(count=200, seed=9, connections=1)
    posts = list(posts_of(options))
    with fake_receiver(busy_at_first) as receiver:
        run_simulation(replace(options, url=receiver.url))
    counts = summary(capsys)
    # The first post is tried twice, and is one all the same.
    assert len(receiver.requests) == len(posts) + 1
    assert (counts["posts"], counts["sent"], counts["acked"]) == (len(posts), 200, 200)
    assert len(posts) != 200


def test_connections_are_kept_open(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_receiver() as receiver:
        run_simulation(SimulateOptions(receiver.url, count=300, seed=1, connections=3))
    assert receiver.connections <= 3


def test_a_post_that_meets_503_is_tried_again_until_it_is_acked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def busy_now_and_then(number: int, _request: Request) -> Reply:
        return Reply(503, 2, "try again") if number % 5 == 0 else Reply()

    with fake_receiver(busy_now_and_then) as receiver:
        options = SimulateOptions(receiver.url, count=60, seed=2, acked=tmp_path / "acked", connections=1)
        assert run_simulation(options) == 0
    assert len(receiver.requests) > 70
    assert set((tmp_path / "acked").read_text().splitlines()) == expected_lines(options)


def test_a_post_that_is_answered_too_late_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    def slow_at_first(number: int, _request: Request) -> Reply:
        return Reply(delay_seconds=30 if number == 0 else 0)

    with fake_receiver(slow_at_first) as receiver:
        options = SimulateOptions(receiver.url, count=3, seed=2, connections=1, timeout_seconds=0.2)
        assert run_simulation(options) == 0
    assert receiver.requests[0] == receiver.requests[1]
    assert summary(capsys)["acked"] == 3


def test_what_is_never_taken_fails_after_three_tries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_receiver(lambda _number, _request: Reply(503, 2)) as receiver:
        options = SimulateOptions(receiver.url, count=2, seed=1, format="json", acked=tmp_path / "acked")
        assert run_simulation(options) == 1
    assert len(receiver.requests) == 6
    told = ["post not acked: HTTP 503 err 2 OK"] * 2 + ["posts not acked: 2, HTTP 503 err 2 OK"]
    output = capsys.readouterr()
    assert output.err.splitlines() == [f"cdr simulate: {line}" for line in told]
    assert "failed 2" in output.out
    assert (tmp_path / "acked").read_text() == ""


def test_what_is_quarantined_is_taken_but_not_acked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse_xmlrpc(_number: int, request: Request) -> Reply:
        return Reply(err=1, errdesc="parse error") if request.body.startswith(b"<") else Reply()

    with fake_receiver(refuse_xmlrpc) as receiver:
        options = SimulateOptions(receiver.url, count=100, seed=3, acked=tmp_path / "acked")
        assert run_simulation(options) == 1
    counts = summary(capsys)
    assert counts["sent"] == 100 == counts["acked"] + counts["quarantined"]
    assert 0 < counts["quarantined"] < 100
    assert len((tmp_path / "acked").read_text().splitlines()) == counts["acked"]


def test_an_answer_without_err_is_no_ack_and_no_reason_to_post_again(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_receiver(lambda _number, _request: Reply(text="thanks")) as receiver:
        assert run_simulation(SimulateOptions(receiver.url, count=1, seed=1)) == 1
    assert len(receiver.requests) == 1
    assert summary(capsys)["failed"] == 1


def test_nobody_listening_is_a_failure_of_each_cdr(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_receiver() as receiver:
        url = receiver.url
    assert run_simulation(SimulateOptions(url, count=2, seed=1)) == 1
    assert summary(capsys)["failed"] == 2


def test_a_rate_is_roughly_kept(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_receiver() as receiver:
        run_simulation(SimulateOptions(receiver.url, rate=100, count=150, seed=1))
    counts = summary(capsys)
    assert 1.2 < counts["seconds"] < 60
    assert counts["rate"] < 125


def test_a_rate_is_kept_although_answers_are_slow(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_receiver(lambda _number, _request: Reply(delay_seconds=0.5)) as receiver:
        run_simulation(SimulateOptions(receiver.url, rate=100, count=100, seed=1, connections=64))
    # One after the other they would take twice as long.
    assert summary(capsys)["seconds"] < 25


def test_without_a_seed_calls_are_new_and_of_today(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (list(posts_of(SimulateOptions(count=5, rate=10))) for _ in range(2))
    assert not {cdr for post in one for cdr in post.cdrs} & {cdr for post in two for cdr in post.cdrs}
    # Israel is two or three hours ahead, and a call may have lasted more than an hour.
    assert all(abs(cdr.time - time.time()) < 4 * 3600 for post in one for cdr in post.cdrs)


def test_an_interrupt_ends_an_endless_run_with_its_summary(
    signals: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_receiver() as receiver:
        killer = interrupt_after(receiver, 50, signal.SIGINT)
        options = SimulateOptions(receiver.url, count=0, acked=tmp_path / "acked")
        assert run_simulation(options) == 0
        killer.join()
    counts = summary(capsys)
    assert counts["sent"] == counts["acked"] == len((tmp_path / "acked").read_text().splitlines())


def test_an_interrupted_run_serves_its_recordings_no_longer(
    signals: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[object] = []
    monkeypatch.setattr(run, "_go_on_serving", served.append)
    with fake_receiver() as receiver:
        killer = interrupt_after(receiver, 5, signal.SIGTERM)
        assert run_simulation(SimulateOptions(receiver.url, count=0, serve_recordings=True)) == 0
        killer.join()
    assert served == []


def test_a_termination_drops_the_posts_that_wait_for_a_slow_receiver(
    signals: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_receiver(lambda _number, _request: Reply(503, 2, delay_seconds=0.05)) as receiver:
        killer = interrupt_after(receiver, 5, signal.SIGTERM)
        assert run_simulation(SimulateOptions(receiver.url, rate=500, connections=2)) == 1
        killer.join()
    assert summary(capsys)["sent"] < 20


def test_a_termination_drops_what_waits_once_all_posts_are_in_the_line(
    signals: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_receiver(lambda _number, _request: Reply(delay_seconds=0.5)) as receiver:
        killer = interrupt_after(receiver, 5, signal.SIGTERM)
        # At this rate all are in the line within a second, and would go out within 500.
        assert run_simulation(SimulateOptions(receiver.url, rate=10_000, count=2000, connections=2)) == 0
        killer.join()
    assert 0 < summary(capsys)["sent"] < 500


def test_what_no_post_can_cause_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RecursionError("a bug of ours")

    monkeypatch.setattr("cdr.simulate.senders._judge", broken)
    with fake_receiver() as receiver, pytest.raises(RecursionError):
        run_simulation(SimulateOptions(receiver.url, count=100, seed=1))


def interrupt_after(receiver: FakeReceiver, requests: int, number: signal.Signals) -> Thread:
    """Send this process the signal twice, as a terminal and a supervisor do, once so many requests have come."""

    def wait() -> None:
        while len(receiver.requests) < requests:
            time.sleep(0.005)
        os.kill(os.getpid(), number)
        time.sleep(0.02)
        os.kill(os.getpid(), number)

    thread = Thread(target=wait)
    thread.start()
    return thread


def test_a_run_in_a_thread_leaves_the_signals_alone(capsys: pytest.CaptureFixture[str]) -> None:
    codes: list[int] = []
    with fake_receiver() as receiver:
        options = SimulateOptions(receiver.url, count=5, seed=1)
        thread = Thread(target=lambda: codes.append(run_simulation(options)))
        thread.start()
        thread.join()
    assert codes == [0]


def test_a_full_disk_under_the_acked_file_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_receiver() as receiver:
        assert run_simulation(SimulateOptions(receiver.url, seed=1, acked=Path("/dev/full"))) == 2
    assert "No space left" in capsys.readouterr().err


def test_a_full_disk_at_the_last_post_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_receiver(lambda _number, _request: Reply(delay_seconds=0.1)) as receiver:
        assert run_simulation(SimulateOptions(receiver.url, count=1, seed=1, acked=Path("/dev/full"))) == 2
    assert "No space left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (SimulateOptions("http://127.0.0.1:1/", rate=0), "--rate"),
        (SimulateOptions("http://127.0.0.1:1/", count=-1), "--count"),
        (SimulateOptions("http://127.0.0.1:1/", connections=0), "--connections"),
        (SimulateOptions("http://127.0.0.1:1/", format="xml"), "--format"),  # type: ignore[arg-type]
        (SimulateOptions("gopher://hush", count=1), "receiver's address"),
    ],
)
def test_wrong_usage_is_told(options: SimulateOptions, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        run_simulation(options)


def test_a_file_that_cannot_be_written_is_told_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_simulation(SimulateOptions("http://127.0.0.1:1/", acked=Path("/nowhere/acked"))) == 2
    assert "/nowhere/acked" in capsys.readouterr().err


def test_people_see_a_progress_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with fake_receiver() as receiver:
        run_simulation(SimulateOptions(receiver.url, count=20, seed=1))
    posts = len(list(posts_of(SimulateOptions(count=20, seed=1))))
    assert f"{posts} posts, CDRs sent" in terminal.getvalue()
    assert "20/20" in terminal.getvalue()


def test_recordings_of_the_calls_are_served_while_the_run_lasts_and_until_nobody_asks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "QUIET_SECONDS", 5.0)
    found: list[int] = []
    later: list[threading.Timer] = []

    def get(record: str) -> None:
        found.append(urllib3.request("GET", record, retries=False).status)

    def fetch(_number: int, request: Request) -> Reply:
        record = request.body.partition(b'"record":"')[2].partition(b'"')[0].decode()
        if record:
            later.append(threading.Timer(0.5, get, [record]))
            later[-1].start()
            get(record)
        return Reply()

    with fake_receiver(fetch) as receiver:
        options = SimulateOptions(receiver.url, count=20, seed=1, format="json", serve_recordings=True)
        assert run_simulation(options) == 0
    for timer in later:
        timer.join()
    assert later
    assert len(found) == 2 * len(later)
    assert set(found) <= {200, 404}
    assert "until nobody has asked for one for 5 s" in capsys.readouterr().err


def test_a_served_recording_is_audio_and_sometimes_late() -> None:
    names = [f"/2026-aws-{number}-0722776772.mp3" for number in range(100)]
    late = next(filter(is_late, names))
    on_time = next(name for name in names if not is_late(name))
    with serve_recordings() as server, urllib3.PoolManager(retries=False) as web:
        base = server.base
        assert web.request("GET", base + on_time).status == 200
        assert [web.request("GET", base + late).status for _ in range(2)] == [404, 200]
        head = web.request("HEAD", base + on_time)
        audio = web.request("GET", base + on_time)
        assert web.request("GET", f"{base}/page.html").status == 404
    assert (audio.headers["Content-Type"], head.headers["Content-Length"]) == ("audio/ogg", str(len(audio.data)))
    assert audio_kind(audio.data) == AudioKind("ogg", "audio/ogg")
