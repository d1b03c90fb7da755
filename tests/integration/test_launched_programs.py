"""What the launcher promises, seen from outside: real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cdr.launch import launched

SAY_UID = "import os; print(os.getuid(), flush=True)"
# The signal is blocked before the word goes out, so it cannot come too early to be seen.
AWAIT_SIGNAL = """
import pathlib, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
print("ready", flush=True)
pathlib.Path(sys.argv[1]).write_text(str(int(signal.sigwait({signal.SIGTERM, signal.SIGINT}))))
"""
# The program ends at once; its child lives until its standard input is closed.
LEAVE_A_CHILD = "import os; os.fork() or os.read(0, 1)"
PARENT = """
import signal, subprocess, sys, time
from cdr.launch import launched
subprocess.Popen(launched([sys.executable, "-c", *sys.argv[1:]], on_parent_death=signal.SIGINT))
time.sleep(60)
"""


def eventually(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def test_the_program_takes_the_place_of_the_launcher() -> None:
    argv = launched(["/bin/sh", "-c", "echo $$; exit 7"], on_parent_death=signal.SIGTERM)

    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate(timeout=30)

    assert (int(output), process.returncode) == (process.pid, 7)


def test_a_child_gets_its_signal_when_its_parent_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "signal"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, AWAIT_SIGNAL, str(note)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.kill()

    assert eventually(lambda: note.exists() and note.read_text() == str(int(signal.SIGINT)))


def test_nothing_starts_when_the_parent_has_ended_in_between(tmp_path: Path) -> None:
    argv = launched(["/bin/sh", "-c", "touch started"], on_parent_death=signal.SIGTERM)
    orphaned = [part.replace(f"parent={os.getpid()}", "parent=1") for part in argv]

    result = subprocess.run(orphaned, cwd=tmp_path, timeout=30, check=False)

    assert result.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_a_program_waits_until_its_predecessor_on_the_folder_and_its_children_are_gone(tmp_path: Path) -> None:
    first = subprocess.Popen(
        launched([sys.executable, "-c", LEAVE_A_CHILD], on_parent_death=signal.SIGTERM, folder=tmp_path),
        stdin=subprocess.PIPE,
    )
    assert first.wait(30) == 0
    second = subprocess.Popen(
        launched(["/bin/echo", "mine"], on_parent_death=signal.SIGTERM, folder=tmp_path), stdout=subprocess.PIPE
    )
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(0.5)

    assert first.stdin is not None
    first.stdin.close()

    assert second.communicate(timeout=30)[0] == b"mine\n"


def test_an_unprivileged_program_does_not_run_as_root(open_path: Path) -> None:
    result = run(
        launched(["/bin/sh", "-c", "id -u"], on_parent_death=signal.SIGTERM, folder=open_path, unprivileged=True)
    )

    assert result.stdout.strip().isdigit(), result.stderr
    assert int(result.stdout) != 0


def test_an_unprivileged_program_owns_its_folder_and_all_in_it(open_path: Path) -> None:
    left = open_path / "inner" / "left by an earlier user"
    left.parent.mkdir(mode=0o700)
    left.touch(mode=0o600)
    if os.geteuid() == 0:
        for path in (left.parent, left):
            os.chown(path, 12345, 12345)

    result = run(launched(["/bin/cat", str(left)], on_parent_death=signal.SIGTERM, folder=open_path, unprivileged=True))

    assert (result.returncode, result.stderr) == (0, "")
