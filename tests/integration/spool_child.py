"""A process that uses a spool and dies on purpose: what tests/integration/test_spool_crashes.py starts.

`append FOLDER` appends and drains until it is killed. `die SCENARIO FOLDER` plays a scenario once for each of its steps,
killing itself there, and `fail SCENARIO FOLDER` once for each length past which no file may grow, lifting that in the end.
What was tried, acknowledged and deleted is told in lines: `?`, `+` or `-`, and numbers.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from api import spool_file
from api.spool import Batch, Spool
from api.spool_folder import SpoolFolder
from api.spool_lock import HeldFile
from common.errors import SpoolUnavailable

ENOUGH = 10**9
# Not a divisor of a page, so that writes are cut off inside too.
LIMIT_STEP = 1500
OPCODES_A_STEP = 40


def batch(number: int) -> Batch:
    return Batch("f", 1, b"[%d," % number + random.Random(number).randbytes(number * 997 % 5000), 1)


def numbers(spool: Spool) -> list[int]:
    found: list[int] = []
    after = 0
    while entries := spool.oldest(ENOUGH, after):
        for entry in entries:
            number = int(entry.batch.entries[1:].split(b",")[0])
            assert entry.batch == batch(number)
            found.append(number)
        after = entries[-1].entry_id
    return found


class User:
    """Uses spools and tells what it does; a failure is told by `!` and passed over."""

    def __init__(self, folder: Path, tell: Callable[[str], object]) -> None:
        self.folder = SpoolFolder(folder, ENOUGH)
        self.tell = tell
        self.spools: list[Spool] = []

    def open(self) -> None:
        with self._failing():
            self.spools.append(self.folder.open())

    def adopt(self) -> None:
        with self._failing():
            self.spools += self.folder.adopt()

    def append(self, *group: int) -> None:
        text = " ".join(map(str, group))
        for spool in self.spools[:1]:
            self.tell(f"? {text}")
            with self._failing():
                spool.append([batch(number) for number in group])
                self.tell(f"+ {text}")

    def drain(self, cdrs: int = ENOUGH) -> None:
        for spool in self.spools:
            with self._failing():
                entries = spool.oldest(cdrs)
                self.tell("- " + " ".join(entry.batch.entries[1:].split(b",")[0].decode() for entry in entries))
                spool.delete([entry.entry_id for entry in entries])

    def close(self) -> None:
        for spool in self.spools:
            spool.close()
        self.spools = []

    @contextlib.contextmanager
    def _failing(self) -> Any:
        try:
            yield
        except SpoolUnavailable:
            self.tell("!")


def create(user: User) -> None:
    user.open()
    user.append(1)
    user.append(2, 3)
    user.close()


def come_and_go(user: User) -> None:
    user.open()
    user.append(100, 101)
    user.drain(2)
    user.append(102)
    user.drain()
    user.append(103)
    user.drain()
    user.close()


def adopt(user: User) -> None:
    user.open()
    user.append(100)
    user.adopt()
    user.drain()
    user.close()


def save(user: User) -> None:
    user.open()
    user.append(100)
    user.close()


def stay(user: User) -> None:
    """Drain a damaged file for which a disk has no room to copy it, to its end."""
    statvfs = os.statvfs
    # Of 100 blocks a twentieth is reserved, and none is free beyond it.
    os.statvfs = lambda path: os.statvfs_result([4096, 4096, 100, 5, 5, *statvfs(path)[5:]])
    user.open()
    for _ in range(5):
        user.drain(3)
    user.close()
    os.statvfs = statvfs


def shrink(user: User) -> None:
    spool_file.VACUUM_PAGES = 4
    user.open()
    for _ in range(6):
        user.drain(5)
    user.append(100)
    user.close()


def leave(folder: Path, *group: int) -> Path:
    before = set(folder.glob("*.spool"))
    spool = Spool(HeldFile.make(folder), ENOUGH)
    spool.append([batch(number) for number in group])
    spool.close()
    (path,) = set(folder.glob("*.spool")) - before
    return path


def prepare_nothing(folder: Path) -> list[int]:
    return []


def prepare_one(folder: Path) -> list[int]:
    leave(folder, 1, 2, 3, 4)
    return [1, 2, 3, 4]


def prepare_several(folder: Path) -> list[int]:
    leave(folder, 1, 2)
    leave(folder, 3)
    # Left by a crash: of a file that was being made, of one that was being removed, and of one made and not filled.
    for name in ("1700000000-1-a.spool.lock", "1700000000-1-b.spool-wal", "1700000000-1-c.spool"):
        (folder / name).touch()
    return [1, 2, 3]


def prepare_damaged(folder: Path) -> list[int]:
    path = leave(folder, *range(1, 13))
    content = bytearray(path.read_bytes())
    content[content.index(batch(4).entries) + 100] ^= 1
    # Its mark is gone too, so that it is seen at once.
    content[68:72] = b"gone"
    path.write_bytes(content)
    return [number for number in range(1, 13) if number != 4]


def prepare_one_broken(folder: Path) -> list[int]:
    path = leave(folder, *range(1, 13))
    content = bytearray(path.read_bytes())
    content[content.index(batch(4).entries) + 100] ^= 1
    path.write_bytes(content)
    return [number for number in range(1, 13) if number != 4]


def prepare_many(folder: Path) -> list[int]:
    leave(folder, *range(1, 31))
    return list(range(1, 31))


SCENARIOS: dict[str, tuple[Callable[[Path], list[int]], Callable[[User], None]]] = {
    "create": (prepare_nothing, create),
    "come and go": (prepare_one, come_and_go),
    "adopt": (prepare_several, adopt),
    "save": (prepare_damaged, save),
    "stay": (prepare_one_broken, stay),
    "shrink": (prepare_many, shrink),
}


class Death:
    """Kills this process at its n-th step: a statement, some of its opcodes, or what is done to files and locks."""

    def __init__(self, at: int) -> None:
        self.left = at
        for owner, names in ((os, ("open", "close", "unlink", "rename", "mkdir", "fsync")), (fcntl, ("flock",))):
            for name in names:
                setattr(owner, name, self._before(getattr(owner, name)))
        connect = sqlite3.connect
        sqlite3.connect = lambda *a, **k: self._watched(connect(*a, **k))  # type: ignore[assignment]

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            self.step()
            return function(*arguments, **options)

        return watched

    def _watched(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        connection.set_trace_callback(lambda _: self.step())
        connection.set_progress_handler(self.step, OPCODES_A_STEP)
        return connection


def die_at(place: int, user: User, scenario: Callable[[User], None]) -> None:
    Death(place)
    scenario(user)


def fail_at(place: int, user: User, scenario: Callable[[User], None]) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (place * LIMIT_STEP, hard))
    scenario(user)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    # The same process goes on, as if somebody had made room.
    if not user.spools:
        user.spools.append(user.folder.open())
    user.spools[0].append([batch(200)])
    user.tell("+ 200")
    user.drain(0)


def play(mode: str, name: str, root: Path) -> None:
    """Play a scenario in a process for each place, until it comes through untouched; write down what each told."""
    prepare, scenario = SCENARIOS[name]
    prepared = root / "prepared"
    prepared.mkdir()
    told_before = ["+ " + " ".join(map(str, prepare(prepared)))]
    told: list[list[str]] = []
    for place in itertools.count():
        shutil.copytree(prepared, root / str(place))
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            act = {"die": die_at, "fail": fail_at}[mode]
            act(place, User(root / str(place), lambda line: os.write(writer, f"{line}\n".encode())), scenario)  # noqa: B023
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as lines:
            told.append(told_before + lines.read().splitlines())
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status not in {0, -signal.SIGKILL}:
            raise SystemExit(f"{name} at {place} ended with {status}")
        if status == 0 and "!" not in told[-1]:
            break
    (root / "told.json").write_text(json.dumps(told))


def append_for_ever(folder: Path) -> None:
    source = random.Random(os.getpid())
    user = User(folder, lambda line: os.write(1, f"{line}\n".encode()))
    user.open()
    user.adopt()
    first = max((number for spool in user.spools for number in numbers(spool)), default=0) + 1000
    while True:
        size = source.randint(1, 4)
        user.append(*range(first, first + size))
        first += size
        if source.random() < 0.2:
            user.drain(source.randint(1, 12))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["append", folder]:
            append_for_ever(Path(folder))
        case [mode, name, root]:
            play(mode, name, Path(root))
