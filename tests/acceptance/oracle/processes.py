"""The processes of a running `cdr up`, found in /proc and told apart by their command lines."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

ROLES = ("receiver", "worker cdrs", "worker recordings", "worker hooks", "scheduler", "migrate")


def role_of(pid: int) -> str | None:
    """Name what a process does; None for one that is gone, or that is not yet what it will be."""
    words = _command_line(pid)
    # Before a child has become its program the launcher's own command line shows.
    if "launch.py" in " ".join(words):
        return None
    command = " ".join(words[words.index("cdr") + 1 :]) if "cdr" in words else ""
    return next((role for role in ROLES if command.startswith(role)), None)


def children(parent: int) -> list[int]:
    """Return the direct children of a process that have not ended, by pid."""
    return sorted(
        int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit() and _parent(folder) == parent
    )


def descendants(parent: int) -> list[int]:
    """Return the children of a process, theirs, and so on."""
    found = children(parent)
    return [*found, *(pid for child in found for pid in descendants(child))]


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process, unless it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def describe(pid: int) -> str:
    """Say what a process waits for and which signals wait for it, for the message of a test that failed."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        place = Path(f"/proc/{pid}/wchan").read_text(encoding="utf-8")
    except OSError:
        return f"{pid} has ended"
    facts = [line.replace("\t", " ") for line in status if line.startswith(("State", "Sig", "ShdPnd"))]
    return f"{pid} {role_of(pid)} in {place}: {', '.join(facts)}"


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
    except OSError:
        return []


def _parent(folder: Path) -> int | None:
    try:
        # The command's name, in brackets, may hold blanks and brackets itself.
        state, parent = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state == "Z" else int(parent)
