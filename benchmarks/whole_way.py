"""Measures the whole way, POST to row, beside an endpoint that inserts within the request; interleaved rounds.

    make bench                 # 5 rounds of 5,000 CDRs each
    make bench ARGS="--rounds 3 --count 2000"

Prints for each the rate and the CPU seconds of all its processes (receiver, Redis, workers, PostgreSQL) for 1,000 CDRs,
as medians with the least and the greatest, and checks that every acknowledged CDR is a row. Figures of one run compare with
each other only.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psycopg

from cdr.ports import free_port
from cdr.post_cdr import Poster
from cdr.simulate.run import SimulateOptions, posts_of
from cdr.simulate.traffic import Post

ROOT = Path(__file__).parents[1]
CONNECTIONS = 16
TICKS = os.sysconf("SC_CLK_TCK")


class Round(NamedTuple):
    """One measurement: CDRs from the first POST to the last row, and the CPU seconds they cost."""

    cdrs: int
    seconds: float
    cpu_seconds: float


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=5000)
    options = parser.parse_args()
    rounds: dict[str, list[Round]] = {"cdr pipeline, durable": [], "synchronous INSERT": []}
    with (
        tempfile.TemporaryDirectory(prefix="cdr-bench-") as folder,
        running_product(Path(folder)) as env,
        running_rival(env) as rival_url,
    ):
        for number in range(options.rounds):
            posts = list(posts_of(SimulateOptions(count=options.count, format="json", seed=1000 + number)))
            rounds["cdr pipeline, durable"].append(measure(posts, env["CDR_RECEIVER_URL"], env, wait_for_rows))
            rounds["synchronous INSERT"].append(measure(posts, rival_url, env, lambda *_: None))
    show(rounds)


@contextlib.contextmanager
def running_product(folder: Path) -> Iterator[dict[str, str]]:
    """Run `cdr up` in a folder of its own and yield its addresses."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cdr", "up", "--data", str(folder / "data"), "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield addresses(folder / "data")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def addresses(data: Path) -> dict[str, str]:
    """Wait until `cdr up` is ready and return what `cdr env` prints."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        shown = subprocess.run(
            [sys.executable, "-m", "cdr", "env", "--data", str(data)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if shown.returncode == 0:
            return dict(shlex.split(line)[0].split("=", 1) for line in shown.stdout.splitlines())
        time.sleep(0.3)
    raise SystemExit(f"cdr up did not start: {shown.stderr}")


@contextlib.contextmanager
def running_rival(env: dict[str, str]) -> Iterator[str]:
    """Run the rival on the same PostgreSQL and yield its address."""
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "uvicorn",
            "benchmarks.rivals.synchronous_insert:app",
            "--port",
            str(port),
            "--no-access-log",
        ],
        cwd=ROOT,
        env={**os.environ, **env},
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/cdr"
    try:
        wait_until(lambda: Poster(url).post(b"{}", "application/json").http_status != 0, 30)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def measure(posts: list[Post], url: str, env: dict[str, str], finish: Callable[..., None]) -> Round:
    """Post everything, wait for the rows, and return what it took."""
    cdrs = len(posts)
    before, started = cpu_seconds(), time.monotonic()
    with Poster(url, timeout=30, connections=CONNECTIONS) as poster, ThreadPoolExecutor(CONNECTIONS) as threads:
        answers = list(threads.map(lambda post: poster.post(post.body, post.content_type), posts))
    refused = [answer for answer in answers if not answer.stored]
    if refused:
        raise SystemExit(f"{len(refused)} posts were not acknowledged, first: {refused[0]}")
    finish(posts, env)
    return Round(cdrs, time.monotonic() - started, cpu_seconds() - before)


def wait_for_rows(posts: list[Post], env: dict[str, str]) -> None:
    """Wait until every CDR that was acknowledged is a row."""
    call_ids = sorted({cdr.call_id for post in posts for cdr in post.cdrs})
    with psycopg.connect(env["CDR_DATABASE_URL"], autocommit=True) as connection:
        wait_until(lambda: missing(connection, call_ids) == 0, 120)


def missing(connection: psycopg.Connection[Any], call_ids: list[str]) -> int:
    """Count the call ids that have no row."""
    row = connection.execute(
        "SELECT count(*) FROM unnest(%s::text[]) AS id WHERE NOT EXISTS "
        "(SELECT FROM cdr.cdrs WHERE call_key = cdr.call_key('default', id))",
        [call_ids],
    ).fetchone()
    return int(row[0]) if row else 0


def cpu_seconds() -> float:
    """Return the CPU time of all our descendants so far, those that ended included."""
    children = os.times()
    return sum(_ticks(pid) for pid in _descendants()) / TICKS + children.children_user + children.children_system


def _descendants() -> set[int]:
    parents = {int(path.name): _parent(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def _parent(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _ticks(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15]))
    return 0


def wait_until(done: Callable[[], bool], seconds: float) -> None:
    """Poll until something is so, or give up."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"not done within {seconds} s")
        time.sleep(0.05)


def show(rounds: dict[str, list[Round]]) -> None:
    """Print the table."""
    print(f"{'':24} {'CDR/s (least, most)':>28} {'CPU s for 1,000 (least, most)':>34}")
    for name, results in rounds.items():
        rates = [result.cdrs / result.seconds for result in results]
        costs = [result.cpu_seconds / result.cdrs * 1000 for result in results]
        print(
            f"{name:24} {median(rates):10.0f} ({min(rates):.0f}, {max(rates):.0f})"
            f" {median(costs):20.3f} ({min(costs):.3f}, {max(costs):.3f})"
        )


if __name__ == "__main__":
    main()
