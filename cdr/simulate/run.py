"""The command `cdr simulate`: posts simulated calls to a receiver and accounts for each of them."""

from __future__ import annotations

import random
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING

from cdr.interrupts import LATE_SECONDS, Interruption, interruption_noted
from cdr.post_cdr import DEFAULT_TIMEOUT_SECONDS, Poster, receiver_url
from cdr.printing import print_line, print_warning
from cdr.progress import progress_bar
from cdr.simulate.calls import CDRS_A_CALL, DEFAULT_CALLS_AN_HOUR, CallFactory
from cdr.simulate.recordings import RecordingServer, serve_recordings
from cdr.simulate.senders import Senders
from cdr.simulate.tally import Refusals, Tally
from cdr.simulate.traffic import TRAFFIC_FORMATS, Post, TrafficFormat, make_posts
from common.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rich.progress import Progress, TaskID

NO_RECORDINGS = "http://recordings.invalid"
# A recording that is not there is asked for again after 10 s and after 30 s.
QUIET_SECONDS = 45.0
# At full speed the simulated clock keeps about the pace of the real one if this many CDRs are posted a second.
_FULL_SPEED_CDRS_A_SECOND = 1000.0
# A rate is kept although the receiver is slow, until this many posts wait for it.
_PACED_BACKLOG = 20_000


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """The options of `cdr simulate`.

    `url`: the receiver's full address (None: CDR_RECEIVER_URL). `rate`: CDRs a second, second deliveries included
    (None: full speed). `count`: distinct CDRs (None or 0: until interrupted). `seed`: repeats a run byte for byte;
    None: calls that end now and never came before. `acked`: the file for the acked identities. An answer is waited
    for `timeout_seconds`.
    """

    url: str | None = None
    rate: float | None = None
    count: int | None = None
    format: TrafficFormat = "mixed"
    seed: int | None = None
    acked: Path | None = None
    connections: int = 16
    serve_recordings: bool = False
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS


def run_simulation(options: SimulateOptions) -> int:
    """Run to the end or to SIGINT or SIGTERM; exit code 0: all acked, 1: not all, 2: the file cannot be written.

    Standard output gets one line, which counts CDRs and posts by name; standard error why posts were not acked. Raises
    ConfigurationError for wrong usage.
    """
    refusals = Refusals(lambda line: print_warning(f"cdr simulate: {line}"))
    try:
        _check(options)
        with ExitStack() as stack:
            tally = Tally(stack.enter_context(options.acked.open("w", encoding="utf-8")) if options.acked else None)
            url = receiver_url(options.url)
            poster = stack.enter_context(Poster(url, options.timeout_seconds, options.connections))
            server = stack.enter_context(serve_recordings()) if options.serve_recordings else None
            interruption = stack.enter_context(interruption_noted())
            posts = posts_of(options, server.base if server else NO_RECORDINGS)
            began = monotonic()
            with suppress(KeyboardInterrupt):
                _post_all(posts, options, _senders(options, poster, tally, refusals), tally, interruption)
            seconds = monotonic() - began
            # Whoever ends a run, such as `cdr up` its caller, waits for its end.
            if server and not interruption.came:
                _go_on_serving(server, interruption)
    except OSError as error:
        print_warning(f"cdr simulate: {error}")
        return 2
    for line in refusals.lines():
        print_warning(f"cdr simulate: {line}")
    print_line(tally.summary(seconds))
    return 0 if tally.acked == tally.sent else 1


def _go_on_serving(server: RecordingServer, interruption: Interruption) -> None:
    print_warning(f"serving the recordings until nobody has asked for one for {QUIET_SECONDS:g} s; Ctrl-C ends it")
    with suppress(KeyboardInterrupt):
        server.wait_until_quiet(QUIET_SECONDS, interruption.sleep)


def _check(options: SimulateOptions) -> None:
    if options.rate is not None and options.rate <= 0:
        raise ConfigurationError("--rate must be over 0")
    if options.count is not None and options.count < 0:
        raise ConfigurationError("--count must be 0 or more")
    if options.connections < 1:
        raise ConfigurationError("--connections must be 1 or more")
    if options.format not in TRAFFIC_FORMATS:
        raise ConfigurationError(f"--format must be one of {', '.join(TRAFFIC_FORMATS)}")


def _post_all(
    posts: Iterable[Post], options: SimulateOptions, senders: Senders, tally: Tally, interruption: Interruption
) -> None:
    """Post until the stream ends; KeyboardInterrupt: a signal ended it, and what was begun has been finished."""
    with progress_bar() as bar:
        task = bar.add_task("", total=options.count or None)
        with senders:
            for post in paced(posts, options.rate, interruption):
                while not senders.send(post, LATE_SECONDS):
                    interruption.check()
                _show(bar, task, tally)
            while not senders.wait(LATE_SECONDS):
                interruption.check()
                _show(bar, task, tally)
        _show(bar, task, tally)


def _show(bar: Progress, task: TaskID, tally: Tally) -> None:
    bar.update(task, completed=tally.sent, description=f"{tally.posts} posts, CDRs sent")


def _senders(options: SimulateOptions, poster: Poster, tally: Tally, refusals: Refusals) -> Senders:
    backlog = _PACED_BACKLOG if options.rate else 2 * options.connections
    return Senders(poster, tally, refusals, options.connections, backlog)


def posts_of(options: SimulateOptions, recordings_base: str = NO_RECORDINGS) -> Iterator[Post]:
    """Make the posts of a run: those of its seed, or else new ones whose calls end as they are posted."""
    if options.seed is not None:
        seed, start, calls_an_hour = options.seed, None, DEFAULT_CALLS_AN_HOUR
    else:
        seed, start = random.SystemRandom().getrandbits(63), datetime.now(UTC)
        calls_an_hour = 3600 * (options.rate or _FULL_SPEED_CDRS_A_SECOND) / CDRS_A_CALL
    calls = CallFactory(seed, start, recordings_base, calls_an_hour)
    return make_posts(calls, seed, options.format, options.count or None)


def paced(posts: Iterable[Post], rate: float | None, interruption: Interruption) -> Iterator[Post]:
    """Hand out posts at `rate` CDRs a second by the clock, however long the last ones took; None: at once.

    KeyboardInterrupt: a signal has come.
    """
    began = monotonic()
    cdrs = 0
    for post in posts:
        interruption.sleep(began + cdrs / rate - monotonic() if rate else 0.0)
        cdrs += len(post.cdrs)
        yield post
