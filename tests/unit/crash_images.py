"""What a crash may leave of a folder: copies at every statement and step, and mixtures of two copies as a power cut makes.

The order of fsyncs is taken for given: that a COMMIT ends with the WAL on disk, and that a checkpoint begins with it. A
missing fsync cannot be seen here.
"""

from __future__ import annotations

import itertools
import os
import random
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

Files = dict[str, bytes]

SECTOR = 512
PAGE = 4096
WAL_HEADER = 32
# Checkpoints are to happen often in a small model.
CHECKPOINT_PAGES = 4


class Recorder:
    """Copies a folder before every statement that SQLite runs and every file that we remove or rename."""

    def __init__(self) -> None:
        self.folder = Path()
        self.copies: list[Files] = []
        self._patches = ExitStack()

    def start(self) -> None:
        for owner, name in ((sqlite3, "connect"), (os, "unlink"), (os, "rename")):
            wrapped = self._observed(getattr(owner, name))
            self._patches.enter_context(patch.object(owner, name, wrapped))
        # Files are taken in the order of their names, which must be the same when a test case is run again.
        count = itertools.count()
        self._patches.enter_context(patch.object(secrets, "token_hex", lambda _: f"{next(count):08}"))

    def stop(self) -> None:
        self._patches.close()

    def copy(self) -> None:
        self.copies.append({path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()})

    def _observed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def observed(*arguments: Any, **options: Any) -> Any:
            self.copy()
            result = function(*arguments, **options)
            if isinstance(result, sqlite3.Connection):
                result.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}").fetchone()
                result.set_trace_callback(lambda _: self.copy())
            return result

        return observed


def write_image(image: Files, folder: Path) -> None:
    folder.mkdir()
    for name, content in image.items():
        (folder / name).write_bytes(content)


def power_cut(before: Files, after: Files, source: random.Random) -> Files:
    """Return what may be on disk when the power goes between two copies."""
    image = dict(after)
    for name in sorted({name.removesuffix("-wal") for name in {*before, *after} if name.endswith((".spool", "-wal"))}):
        log = f"{name}-wal"
        if f"{name}-journal" in before or f"{name}-journal" in after:
            return before
        states = _states((before.get(name), before.get(log)), (after.get(name), after.get(log)), source)
        for part, content in zip((name, log), source.choice(states), strict=True):
            image.pop(part, None)
            if content is not None:
                image[part] = content
    return image


State = tuple[bytes | None, bytes | None]


def _states(before: State, after: State, source: random.Random) -> list[State]:
    """Return, for each thing that was written in turn, a state of the file and its WAL in the midst of it."""
    (file, log), (new_file, new_log) = before, after
    states = [before, after]
    if new_log and new_log != log:
        states.append((file, _torn_log(log or b"", new_log, source)))
        whole_log: bytes | None = new_log
    else:
        whole_log = log
    if file is not None and new_file is not None and file != new_file:
        states.append((_torn_file(file, new_file, source), whole_log))
    if new_file is None or not new_log:
        # Removing and cutting reach the disk in any order.
        states.append((new_file, source.choice([log, new_log])))
    if new_file is None:
        states.append((file, source.choice([log, new_log])))
    return states


def _torn_log(old: bytes, new: bytes, source: random.Random) -> bytes:
    """Tear what was written to a WAL: cut anywhere, filled up with rubbish, or sector by sector."""
    if new[:WAL_HEADER] != old[:WAL_HEADER]:
        # It began anew, over what a checkpoint had taken; the header is on disk before anything else.
        return new[:WAL_HEADER] + _mixed(old, new, WAL_HEADER, SECTOR, source)
    same = next((place for place, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), len(old))
    if source.random() < 0.5:
        return new[:same] + _mixed(old, new, same, SECTOR, source)
    cut = source.randint(same, len(new))
    rest = len(new) - cut
    return new[:cut] + source.choice([b"", bytes(rest), source.randbytes(rest)])


def _torn_file(old: bytes, new: bytes, source: random.Random) -> bytes:
    length = source.choice([len(old), len(new)])
    return _mixed(old, new, 0, PAGE, source)[:length]


def _mixed(old: bytes, new: bytes, start: int, size: int, source: random.Random) -> bytes:
    length = max(len(old), len(new))
    parts = []
    while start < length:
        end = min(length, start - start % size + size)
        parts.append(source.choice([old, new])[start:end].ljust(end - start, b"\0"))
        start = end
    return b"".join(parts)
