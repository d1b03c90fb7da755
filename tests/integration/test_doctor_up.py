"""`cdr doctor` beside a running `cdr up`: with its data folder it sees all of it, with its addresses the servers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import urllib3
from loading import select
from running import until

from cdr.data_folder import DataFolder

SECONDS = 90.0
CDR = [sys.executable, "-m", "cdr"]


def environment(**settings: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("CDR_", "RQ_"))}
    return {**plain, **settings}


@pytest.fixture
def data(open_path: Path) -> Iterator[Path]:
    """Give the data folder of a `cdr up` that is ready."""
    folder = open_path / "data"
    log = (open_path / "log").open("w")
    process = subprocess.Popen(
        [*CDR, "up", "--data", str(folder), "--port", "0"],
        stdout=log,
        stderr=log,
        env=environment(CDR_REDIS_MEMORY_MARK="0.5"),
    )
    try:
        deadline = time.monotonic() + SECONDS
        while not DataFolder(folder).addresses():
            assert process.poll() is None, (open_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield folder
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)
        log.close()


def doctor(*arguments: str, **settings: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [*CDR, "doctor", "--json", *arguments],
        capture_output=True,
        text=True,
        env=environment(**settings),
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, {each["check"]: each for each in json.loads(done.stdout or "[]")}, done.stderr


def problems(found: dict[str, Any]) -> dict[str, str]:
    return {name: each["detail"] for name, each in found.items() if each["status"] == "problem"}


def test_beside_a_running_tree_nothing_is_wrong(data: Path) -> None:
    # Workers and recorder register a moment after the receiver is ready.
    deadline = time.monotonic() + SECONDS
    while problems((answer := doctor("--data", str(data)))[1]):
        assert time.monotonic() < deadline, problems(answer[1])
    code, found, _ = answer

    assert code == 0
    assert found["spool.writable"]["detail"] == f"a file in {data / 'spool'} was written, fsynced and removed"
    assert "from 50% on CDRs go to the spool" in found["redis.memory"]["detail"]
    assert {found[name]["status"] for name in ("recordings.store", "settings.secrets", "redis.memory")} == {"ok"}

    code, found, _ = doctor(**DataFolder(data).addresses())

    assert (code, problems(found)) == (0, {})
    assert found["spool.writable"]["detail"] == "not set here: CDR_SPOOL_DIR"


def test_status_sees_the_spools_of_the_tree_while_its_redis_hangs(data: Path) -> None:
    addresses = DataFolder(data).addresses()
    with redis.Redis.from_url(addresses["CDR_REDIS_URL"]) as connection:
        process_id = connection.info("server")["process_id"]
    os.kill(process_id, signal.SIGSTOP)
    try:
        post = urllib3.request("POST", addresses["CDR_RECEIVER_URL"], body=readme_sample(), retries=False, timeout=60)
        status = subprocess.run(
            [*CDR, "status", "--json", "--data", str(data)],
            capture_output=True,
            env=environment(),
            timeout=SECONDS,
            check=False,
        )
    finally:
        os.kill(process_id, signal.SIGCONT)
    assert post.json() == {"err": "0", "errdesc": "OK"}
    told = json.loads(status.stdout)
    assert list(told["errors"]) == ["redis"]
    assert [(each["cdrs"], each["entries"]) for each in told["spools_here"]] == [(1, 1)]


def readme_sample() -> bytes:
    """Return the CDR that the README has a newcomer post."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    return re.search(r"curl .*?--data '(.*?)'", readme, re.DOTALL)[1].encode()  # type: ignore[index]


def test_after_the_sample_of_the_readme_a_newcomer_is_warned_of_nothing(data: Path) -> None:
    addresses = DataFolder(data).addresses()
    post = urllib3.request("POST", addresses["CDR_RECEIVER_URL"], body=readme_sample(), retries=False)
    assert post.json() == {"err": "0", "errdesc": "OK"}
    until(lambda: select(addresses["CDR_DATABASE_URL"], "SELECT FROM cdr.cdrs_default"), SECONDS)

    def warned() -> dict[str, str]:
        _, found, _ = doctor("--data", str(data))
        return {name: each["detail"] for name, each in found.items() if each["status"] in {"warning", "problem"}}

    # Workers register a moment after the receiver is ready.
    until(lambda: not warned(), SECONDS)


def test_where_no_tree_runs_that_is_wrong_usage(tmp_path: Path) -> None:
    code, found, errors = doctor("--data", str(tmp_path))
    assert (code, found, errors) == (2, {}, f"cdr: no `cdr up` is running on {tmp_path}: --data names another folder\n")
