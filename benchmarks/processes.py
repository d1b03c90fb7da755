"""Starts what is measured, and reads from /proc what it took."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
START_SECONDS = 120.0
STOP_SECONDS = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Failed(Exception):
    """The benchmark cannot go on, or what it measured was wrong: no figure of it counts."""


@contextlib.contextmanager
def process(arguments: Iterable[str], env: Mapping[str, str], log: Path) -> Iterator[int]:
    """Run `python -m ...` for the length of a with-block, which is given its process id.

    When what is measured fails and the process has ended meanwhile, its end is told as the reason.
    """
    command = _command(arguments)
    with log.open("ab") as output:
        started = subprocess.Popen(command, cwd=ROOT, env=environment(env), stdout=output, stderr=output)
    try:
        yield started.pid
    except Failed as error:
        if (code := started.poll()) is not None:
            raise Failed(f"{' '.join(command[3:])} ended with {code}: {log.read_text()[-2000:]}") from error
        raise
    finally:
        started.terminate()
        started.wait(STOP_SECONDS)


def finished(arguments: Iterable[str], env: Mapping[str, str], log: Path) -> None:
    """Run `python -m ...` to its end; raise Failed when it fails."""
    with log.open("ab") as output:
        code = subprocess.call(_command(arguments), cwd=ROOT, env=environment(env), stdout=output, stderr=output)
    if code:
        raise Failed(f"{' '.join(arguments)} ended with {code}: {log.read_text()[-2000:]}")


def wait_until(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Return once a condition is true; raise Failed after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


def answers(url: str) -> bool:
    """Tell whether an HTTP server answers at all."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def cpu_seconds(roots: Iterable[int]) -> float:
    """Return the CPU time that processes and all below them have taken so far, those that ended included."""
    return sum(_ticks(pid) for pid in _with_descendants(roots)) / _TICKS


def resident_bytes(roots: Iterable[int]) -> int:
    """Return the memory that processes and all below them hold now; what they share counts once for each."""
    return sum(_resident_pages(pid) for pid in _with_descendants(roots)) * _PAGE_BYTES


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has held so far; 0 when it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def proportional_bytes(roots: Iterable[int]) -> int:
    """Return the memory that processes and all below them hold now; a page that several share counts once among them."""
    return sum(_proportional_kilobytes(pid) for pid in _with_descendants(roots)) * 1024


def children() -> set[int]:
    """Return the processes that this one has started itself and that have not ended."""
    return {int(path.name) for path in Path("/proc").glob("[0-9]*") if _parent(path) == os.getpid()}


def _command(arguments: Iterable[str]) -> list[str]:
    return [sys.executable, "-P", "-m", *arguments]


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return our environment with these variables, and nothing that the user has set for a product of his own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CDR_")}
    return {**kept, "PYTHONPATH": str(ROOT), **env}


def _with_descendants(roots: Iterable[int]) -> set[int]:
    found = set(roots)
    parents = {int(path.name): _parent(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _parent(folder: Path) -> int:
    with contextlib.suppress(OSError):
        return int(_stat(folder)[1])
    return 0


def _ticks(pid: int) -> int:
    with contextlib.suppress(OSError):
        # Of the process itself and of those of its children that have ended.
        return sum(map(int, _stat(Path(f"/proc/{pid}"))[11:15]))
    return 0


def _resident_pages(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return 0


def _proportional_kilobytes(pid: int) -> int:
    # One that may not be looked at raises an error: without it the sum would be too small.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return 0


def _stat(folder: Path) -> list[str]:
    # The command's name, in brackets, may hold blanks and brackets itself.
    return (folder / "stat").read_text().rpartition(")")[2].split()
