"""What the tests of the spool share: batches that can be told apart, and a look at what a spool holds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from api.spool import Batch, Entry, Spool
from api.spool_file import SpoolFile
from api.spool_folder import SpoolFolder
from common.job_queue import LOAD_CDRS

ENOUGH = 1_000_000_000


@pytest.fixture(autouse=True)
def every_file_is_closed() -> Iterator[None]:
    """Close what a test left open, as the end of a process would."""
    made: list[SpoolFile] = []
    initialise = SpoolFile.__init__

    def noted(file: SpoolFile, *arguments: Any) -> None:
        initialise(file, *arguments)
        made.append(file)

    with patch.object(SpoolFile, "__init__", noted):
        yield
    for file in made:
        file.close()


def batch(number: int, size: int = 100, count: int = 1) -> Batch:
    """Make a batch that tells its number and does not get smaller by compression; the spool does not read its JSON."""
    return Batch(LOAD_CDRS, 1, b"[%d," % number + random.Random(number).randbytes(size), count)


def number_of(entry: Entry) -> int:
    return int(entry.batch.entries[1:].split(b",")[0])


def everything(spool: Spool) -> list[Entry]:
    """Read a spool from its front to its end."""
    entries: list[Entry] = []
    while more := spool.oldest(ENOUGH, entries[-1].entry_id if entries else 0):
        entries += more
    return entries


def numbers(spool: Spool) -> list[int]:
    return [number_of(entry) for entry in everything(spool)]


def spool_in(folder: Path, max_bytes: int = ENOUGH) -> Spool:
    return SpoolFolder(folder, max_bytes).open()


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path
