"""Whatever is done to the spools of a folder and wherever it is cut off, every acknowledged batch is there, once and whole."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from crash_images import Recorder, power_cut, write_image
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from spooling import ENOUGH, batch, everything, number_of

from api import spool_salvage
from api.spool import Spool, SpoolTotals
from api.spool_entry import pack
from api.spool_file import SpoolFile
from api.spool_folder import SpoolFolder
from api.spool_lock import HeldFile

Numbers = frozenset[int]
NONE: Numbers = frozenset()
# What is on disk is played through with bytes here, so a real one only makes it slow.
IN_MEMORY = Path("/dev/shm")


class Crash(NamedTuple):
    """The end of everything at a step, by SIGKILL, or by a power cut between it and the next."""

    at: int
    cut: bool
    seed: int


CRASHES = st.none() | st.builds(Crash, at=st.integers(0, 12), cut=st.booleans(), seed=st.integers(0, 2**32))


class SpoolModel(RuleBasedStateMachine):
    """The spools of a folder, each as if in a process of its own, and the numbers of the batches that must be in them."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="cdr-spool-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        self.places = 0
        self.sizes: list[int] = []
        self.kept = NONE
        self.left_behind = NONE
        self.spools: list[Spool] = []
        self.recorder = Recorder()
        self.recorder.start()
        self._go_to_new_folder({})
        self._perform(lambda: self.spools.append(self.folder.open()))

    def _go_to_new_folder(self, image: dict[str, bytes]) -> None:
        self.places += 1
        self.recorder.folder = self.root / str(self.places)
        write_image(image, self.recorder.folder)
        self.folder = SpoolFolder(self.recorder.folder, ENOUGH)

    def _perform(
        self,
        operation: Callable[[], Any],
        crash: Crash | None = None,
        appended: Numbers = NONE,
        deleted: Numbers = NONE,
    ) -> None:
        """Do it, with a copy of the folder at each of its steps, and let it end in a crash at one of them."""
        self.recorder.copies.clear()
        self.recorder.copy()
        operation()
        self.recorder.copy()
        before, self.kept = self.kept, (self.kept | appended) - deleted
        if crash is None:
            return
        copies = self.recorder.copies
        at = crash.at % len(copies)
        if at == len(copies) - 1:
            self._come_back(copies[at], must=self.kept)
        else:
            image = power_cut(copies[at], copies[at + 1], random.Random(crash.seed)) if crash.cut else copies[at]
            self._come_back(image, must=before - deleted, may=(appended, deleted))

    def _come_back(self, image: dict[str, bytes], must: Numbers, may: tuple[Numbers, ...] = ()) -> None:
        """Go on with what a crash left, in which `must` is there and of each of `may` all or nothing."""
        for spool in self.spools:
            spool.close()
        self._go_to_new_folder(dict(image))
        self.spools = [self.folder.open()]
        self.spools += self.folder.adopt()
        found = [number_of(entry) for spool in self.spools for entry in everything(spool)]
        self.kept, self.left_behind = frozenset(found), NONE
        assert len(found) == len(self.kept), "a batch is there twice"
        assert must <= self.kept, "an acknowledged batch is lost"
        assert self.kept <= must.union(*may), "something is there that should not be"
        assert all(self.kept & group in {NONE, group} for group in may), "a half of what was one"
        assert self.folder.damaged() == []

    def _some(self, which: int) -> Spool:
        return self.spools[which % len(self.spools)]

    @precondition(lambda self: self.spools)
    @rule(which=st.integers(0, 2), sizes=st.lists(st.integers(0, 9000), min_size=1, max_size=3), crash=CRASHES)
    def append(self, which: int, sizes: list[int], crash: Crash | None) -> None:
        first = len(self.sizes)
        self.sizes += sizes
        batches = [batch(first + place, size, count=place) for place, size in enumerate(sizes)]
        spool = self._some(which)
        self._perform(lambda: spool.append(batches), crash, appended=frozenset(range(first, len(self.sizes))))

    @precondition(lambda self: self.spools)
    @rule(which=st.integers(0, 2), cdrs=st.integers(0, 6), crash=CRASHES)
    def drain(self, which: int, cdrs: int, crash: Crash | None) -> None:
        spool = self._some(which)
        # They are in the queue from here on: a crash before the end of the delete brings some of them twice.
        entries = spool.oldest(cdrs)
        taken = frozenset(map(number_of, entries))
        self._perform(lambda: spool.delete([entry.entry_id for entry in entries]), crash, deleted=taken)

    @precondition(lambda self: len(self.spools) < 3)
    @rule(crash=CRASHES)
    def open_another(self, crash: Crash | None) -> None:
        self._perform(lambda: self.spools.append(self.folder.open()), crash)
        if crash is None:
            self._take_over(self.spools[-1:])

    @precondition(lambda self: self.spools)
    @rule(crash=CRASHES)
    def adopt(self, crash: Crash | None) -> None:
        before = len(self.spools)
        self._perform(lambda: self.spools.extend(SpoolFolder(self.recorder.folder, ENOUGH).adopt()), crash)
        if crash is None:
            self._take_over(self.spools[before:])
        assert self.left_behind == NONE

    def _take_over(self, spools: list[Spool]) -> None:
        for spool in spools:
            found = frozenset(map(number_of, everything(spool)))
            assert found <= self.left_behind
            self.left_behind -= found

    @precondition(lambda self: self.spools)
    @rule(which=st.integers(0, 2), crash=CRASHES)
    def close(self, which: int, crash: Crash | None) -> None:
        spool = self._some(which)
        self.spools.remove(spool)
        self.left_behind |= frozenset(map(number_of, everything(spool)))
        self._perform(spool.close, crash)

    @precondition(lambda self: self.spools)
    @rule(which=st.integers(0, 2))
    def kill(self, which: int) -> None:
        """End one process by SIGKILL while the others live: its files stay as they are."""
        spool = self._some(which)
        self.spools.remove(spool)
        self.left_behind |= frozenset(map(number_of, everything(spool)))
        parts = {path: path.read_bytes() for path in self.recorder.folder.glob(f"{spool._held.path.name}*")}
        spool.close()
        for path, content in parts.items():
            path.write_bytes(content)

    @invariant()
    def each_spool_holds_what_it_should(self) -> None:
        found: list[int] = []
        for spool in self.spools:
            entries = everything(spool)
            numbers = [number_of(entry) for entry in entries]
            assert numbers == sorted(set(numbers))
            for number, entry in zip(numbers, entries, strict=True):
                assert entry.batch.entries == batch(number, self.sizes[number]).entries
            sizes = [len(pack(entry.batch).content) for entry in entries]
            cdrs = sum(entry.batch.count for entry in entries)
            oldest = entries[0].spooled_at if entries else None
            assert spool.state() == SpoolTotals(len(entries), cdrs, sum(sizes), oldest)
            found += numbers
        assert sorted(found) == sorted(self.kept - self.left_behind)

    def teardown(self) -> None:
        self.recorder.stop()
        for spool in [*self.spools, *self.folder.adopt()]:
            spool.delete([entry.entry_id for entry in everything(spool)])
            spool.close()
        left = [path.name for path in self.recorder.folder.iterdir()]
        shutil.rmtree(self.root)
        assert left == []


SMALL = settings(
    max_examples=50,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


UNTIL_IT_FAILS = settings(
    SMALL,
    max_examples=300,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    derandomize=True,
    database=None,
)


class TestSpool(SpoolModel.TestCase):
    settings = SMALL


@contextmanager
def acknowledged_before_the_commit(file: SpoolFile) -> Iterator[Any]:
    if file._db.in_transaction:
        file._db.execute("COMMIT")
    file._db.execute("BEGIN IMMEDIATE")
    changes = file._db.total_changes
    yield file._db
    if file._db.total_changes == changes:
        file._db.execute("COMMIT")


def one_by_one(insert: Callable[..., None]) -> Callable[..., None]:
    def insert_each(file: SpoolFile, batches: Any, spooled_at: float) -> None:
        for each in batches:
            insert(file, [each], spooled_at)

    return insert_each


def removed_whatever_is_in_it(held: HeldFile) -> None:
    held.remove()


CHEATS: dict[str, tuple[type, str, Any]] = {
    "acknowledged before the commit": (SpoolFile, "_transaction", acknowledged_before_the_commit),
    "a group in several transactions": (SpoolFile, "insert", one_by_one(SpoolFile.insert)),
    "removed while something is in it": (HeldFile, "release", removed_whatever_is_in_it),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_the_model_sees_a_spool_that_cheats(cheat: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, instead = CHEATS[cheat]
    monkeypatch.setattr(owner, name, instead)
    # A cheat breaks files, and how much of one can be saved is not what is asked here.
    monkeypatch.setattr(spool_salvage, "MAX_GAPS", 50)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(SpoolModel, settings=UNTIL_IT_FAILS)
