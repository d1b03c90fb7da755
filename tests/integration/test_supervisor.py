"""The supervisor with small children: order, readiness, restarts, and an end that leaves no process."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from cdr import child_process, supervisor
from cdr.child_process import Child, ChildProcess
from cdr.supervisor import STOPPING, Supervisor
from common.errors import ConfigurationError

LIVE = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """Every process that a test starts, as (name, pid); none may be left at its end."""
    pids: list[tuple[str, int]] = []
    start = ChildProcess.start

    def noting_start(process: ChildProcess) -> None:
        start(process)
        assert process._process is not None
        pids.append((process.child.name, process._process.pid))

    monkeypatch.setattr(ChildProcess, "start", noting_start)
    yield pids
    assert [name for name, pid in pids if exists(pid)] == []


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def python(name: str, code: str, *arguments: str, **options: object) -> Child:
    return Child(name, [sys.executable, "-I", "-S", "-c", code, *arguments], **options)  # type: ignore[arg-type]


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def supervise(
    stages: Sequence[Sequence[Child]],
    logs: Path,
    on_ready: Callable[[], None] = stop,
    announce: Callable[[str], None] = lambda _: None,
) -> None:
    Supervisor(stages, logs, announce).run(on_ready)


def test_a_stage_starts_when_the_one_before_is_ready(started: list[tuple[str, int]], tmp_path: Path) -> None:
    asked = iter([False, False, True])
    order: list[str] = []

    def is_ready() -> bool:
        answer = next(asked)
        order.append(f"server ready: {answer}")
        return answer

    server = python("server", LIVE, is_ready=is_ready)
    role = python("role", LIVE, prepare=lambda: order.append("role starts"))

    supervise([[server], [role]], tmp_path)

    assert order == ["server ready: False", "server ready: False", "server ready: True", "role starts"]


def test_stages_end_in_reverse_order(started: list[tuple[str, int]], tmp_path: Path) -> None:
    note = (
        "import signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "print('blocked', flush=True); signal.sigwait({signal.SIGTERM})\n"
        "open(sys.argv[1], 'a').write(sys.argv[2] + ' ')\n"
    )
    order = tmp_path / "order"

    def child(name: str) -> Child:
        log = tmp_path / f"{name}.log"
        return python(name, note, str(order), name, is_ready=lambda: log.read_text() == "blocked\n")

    supervise([[child("server")], [child("role")], [child("caller")]], tmp_path)

    assert order.read_text() == "caller role server "


@pytest.mark.parametrize("request_to_stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_children(
    started: list[tuple[str, int]], tmp_path: Path, request_to_stop: signal.Signals
) -> None:
    # As under a terminal, even where the tests themselves run under nohup.
    former = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        supervise([[python("one", LIVE), python("two", LIVE)]], tmp_path, lambda: os.kill(os.getpid(), request_to_stop))
    finally:
        signal.signal(signal.SIGHUP, former)

    assert sorted(name for name, _ in started) == ["one", "two"]


def test_the_handlers_of_before_are_back_afterwards(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)]

    supervise([[python("one", LIVE)]], tmp_path)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_terminal_that_goes_does_not_end_what_was_started_with_nohup(
    started: list[tuple[str, int]], tmp_path: Path
) -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    lines: list[str] = []

    def hang_up_and_kill_the_child() -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(started[0][1], signal.SIGKILL)

    def announce(line: str) -> None:
        lines.append(line)
        stop()

    try:
        supervise([[python("one", LIVE)]], tmp_path, hang_up_and_kill_the_child, announce)
    finally:
        signal.signal(signal.SIGHUP, former)

    assert lines == ["one was killed by signal 9; it starts again in 0.01 s", STOPPING]


def test_a_child_that_dies_is_started_again(started: list[tuple[str, int]], tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    die_first = (
        "import os, sys, time\n"
        "if os.path.exists(sys.argv[1]): time.sleep(60)\n"
        "open(sys.argv[1], 'w').close(); sys.exit('no luck')"
    )
    lines: list[str] = []

    supervise(
        [[python("frail", die_first, str(marker), prepare=lambda: stop() if marker.exists() else None)]],
        tmp_path,
        lambda: None,
        lines.append,
    )

    assert [name for name, _ in started] == ["frail", "frail"]
    assert lines == ["frail ended with exit code 1: no luck; it starts again in 0.01 s", STOPPING]


def test_pauses_between_restarts_double_up_to_their_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "LONGEST_PAUSE_SECONDS", 0.05)
    process = ChildProcess(python("frail", "pass"), tmp_path)
    process._started_at = time.monotonic()

    assert [process.plan_restart() for _ in range(5)] == [0.01, 0.02, 0.04, 0.05, 0.05]


def test_the_pause_is_short_again_after_a_long_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = ChildProcess(python("frail", "pass"), tmp_path)
    process._started_at = time.monotonic()
    assert [process.plan_restart() for _ in range(3)] == [0.01, 0.02, 0.04]

    process._started_at = time.monotonic() - child_process.PROVEN_SECONDS

    assert process.plan_restart() == 0.01


def test_what_runs_once_is_tried_until_it_succeeds_and_not_again(
    started: list[tuple[str, int]], tmp_path: Path
) -> None:
    count = "import sys\nwith open(sys.argv[1], 'a+') as f: f.write('x'); f.seek(0); sys.exit(len(f.read()) < 3)"
    migrate = python("migrate", count, str(tmp_path / "tries"), once=True)

    supervise([[migrate], [python("role", LIVE)]], tmp_path)

    assert [name for name, _ in started] == ["migrate", "migrate", "migrate", "role"]


def test_a_child_that_never_gets_ready_is_an_error_that_quotes_its_log(
    started: list[tuple[str, int]], tmp_path: Path
) -> None:
    wrong = python("receiver", "import sys; sys.exit('CDR_PORT: is wrong')", is_ready=lambda: False, ready_seconds=0.5)

    with pytest.raises(
        ConfigurationError, match=r"receiver ended with exit code 1: CDR_PORT: is wrong .*receiver\.log"
    ):
        supervise([[python("server", LIVE)], [wrong]], tmp_path)


def test_a_child_that_lives_but_never_gets_ready_is_an_error(started: list[tuple[str, int]], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"server is not ready after 0\.2 s"):
        supervise([[python("server", LIVE, is_ready=lambda: False, ready_seconds=0.2)]], tmp_path)


def test_a_migration_may_take_longer_than_the_time_to_get_ready(started: list[tuple[str, int]], tmp_path: Path) -> None:
    slow = python("migrate", "import time; time.sleep(0.5)", once=True, ready_seconds=0.1)

    supervise([[slow]], tmp_path)

    assert [name for name, _ in started] == ["migrate"]


def test_a_start_can_be_called_off(started: list[tuple[str, int]], tmp_path: Path) -> None:
    def is_ready() -> bool:
        stop()
        return False

    supervise([[python("server", LIVE, is_ready=is_ready)], [python("role", LIVE)]], tmp_path, pytest.fail)

    assert [name for name, _ in started] == ["server"]


def test_a_child_that_does_not_listen_is_killed_after_its_time(started: list[tuple[str, int]], tmp_path: Path) -> None:
    log = tmp_path / "deaf.log"
    deaf = python("deaf", STUBBORN, is_ready=lambda: log.read_text() == "deaf\n", stop_seconds=0.2)

    supervise([[deaf]], tmp_path)

    assert [name for name, _ in started] == ["deaf"]


def test_a_second_request_to_stop_does_not_wait(
    started: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "HURRY_SECONDS", 0.1)
    log = tmp_path / "deaf.log"
    deaf = python("deaf", STUBBORN, is_ready=lambda: log.read_text() == "deaf\n", stop_seconds=60)

    def stop_twice() -> None:
        stop()
        stop()

    began = time.monotonic()
    supervise([[deaf]], tmp_path, stop_twice)

    assert time.monotonic() - began < 30


def test_a_restart_that_the_system_refuses_is_tried_again(started: list[tuple[str, int]], tmp_path: Path) -> None:
    failures = iter([None, OSError(28, "No space left on device"), None])
    lines: list[str] = []

    def prepare() -> None:
        failure = next(failures)
        if failure:
            raise failure
        if len(lines) == 2:
            stop()

    one = python("one", LIVE, prepare=prepare)
    supervise([[one]], tmp_path, lambda: os.kill(started[0][1], signal.SIGKILL), lines.append)

    assert lines == [
        "one was killed by signal 9; it starts again in 0.01 s",
        "one cannot start: [Errno 28] No space left on device; next try in 0.02 s",
        STOPPING,
    ]


def test_a_log_that_has_grown_is_put_aside_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "LOG_BYTES", 3)
    (tmp_path / "one.log").write_text("full")

    supervise([[python("one", LIVE)]], tmp_path)

    assert (tmp_path / "one.log.1").read_text() == "full"
    assert (tmp_path / "one.log").read_text() == ""


def test_killing_a_child_that_has_ended_does_nothing(tmp_path: Path) -> None:
    process = ChildProcess(python("one", "pass"), tmp_path)
    process.start()
    while process.is_alive():
        time.sleep(0.01)

    process.kill()

    assert process.exit_code() == 0


def test_a_child_without_a_log_has_no_last_words(tmp_path: Path) -> None:
    assert ChildProcess(python("one", "pass"), tmp_path).last_words() == ""


def test_what_runs_once_is_not_tried_again_when_its_settings_are_wrong(
    started: list[tuple[str, int]], tmp_path: Path
) -> None:
    hopeless = python("migrate", "import sys; print('a migration was edited'); sys.exit(2)", once=True)

    with pytest.raises(ConfigurationError, match="migrate ended with exit code 2: a migration was edited"):
        supervise([[hopeless], [python("role", LIVE)]], tmp_path)

    assert [name for name, _ in started] == ["migrate"]


CHATTY = "import sys, time\nwhile True: sys.stdout.write('x' * 99 + '\\n'); sys.stdout.flush(); time.sleep(0.001)"


def test_a_log_that_grows_while_its_child_runs_is_put_aside_and_written_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_process, "LOG_BYTES", 2_000)
    process = ChildProcess(python("one", CHATTY), tmp_path)
    process.start()
    deadline = time.monotonic() + 30
    while not (tmp_path / "one.log.1").exists() and time.monotonic() < deadline:
        process.limit_log()
        time.sleep(0.01)
    emptied = (tmp_path / "one.log").stat().st_size
    while (tmp_path / "one.log").stat().st_size <= emptied and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    while process.is_alive():
        time.sleep(0.01)

    assert (tmp_path / "one.log.1").read_text().startswith("x" * 99)
    assert (tmp_path / "one.log").read_bytes().count(b"\0") == 0
    assert (tmp_path / "one.log").stat().st_size > emptied
