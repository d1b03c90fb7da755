"""Processes killed at random, killed at every step, and failed at every write: nothing acknowledged is lost, nobody cleans up."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from spool_child import ENOUGH, SCENARIOS, numbers

from api.spool import Spool
from api.spool_folder import SpoolFolder

CHILD = Path(__file__).with_name("spool_child.py")
ROOT = Path(__file__).parents[2]
KILLS = 20
DAMAGED = {"save", "stay"}


class Expected:
    """What must be in the spools, and what may be there whole or not at all, by what processes told."""

    def __init__(self) -> None:
        self.must: set[int] = set()
        self.may: set[int] = set()
        self.open_groups: list[set[int]] = []

    def hear(self, lines: list[str]) -> None:
        for line in lines:
            what, *rest = line.split()
            told = set(map(int, rest))
            if what == "?":
                self.open_groups.append(told)
            elif what == "+":
                self.open_groups = [group for group in self.open_groups if group != told]
                self.must |= told
            elif what == "-":
                self.must -= told
                self.may |= told

    def check(self, found: list[int]) -> None:
        there = set(found)
        assert self.must - there == set(), "acknowledged and lost"
        assert there - self.must - self.may - set().union(*self.open_groups) == set(), "never appended"
        # A drain may have taken a part of a group that was found and not acknowledged.
        assert all(there & group in (set(), group) or group & self.may for group in self.open_groups), "a half"


def all_spools(folder: Path) -> list[Spool]:
    """Open every spool of a folder, as the processes that come back do."""
    shared = SpoolFolder(folder, ENOUGH)
    return [shared.open(), *shared.adopt()]


def drain_and_close(spools: list[Spool]) -> None:
    for spool in spools:
        while entries := spool.oldest(ENOUGH):
            spool.delete([entry.entry_id for entry in entries])
        assert spool.state().entries == 0
        spool.close()


def check_folder(folder: Path, told: list[str], *, damaged: int, twice: bool = False) -> None:
    """Check what is in a folder's spools, and that nothing is left of it once they are drained."""
    expected = Expected()
    expected.hear(told)
    spools = all_spools(folder)
    found = [number for spool in spools for number in numbers(spool)]
    expected.check(found)
    assert twice or len(found) == len(set(found))
    drain_and_close(spools)
    left = [path.name for path in folder.iterdir()]
    assert [name for name in left if ".spool.damaged" not in name] == []
    assert len([name for name in left if name.endswith(".damaged")]) == damaged


def play(mode: str, scenario: str, root: Path) -> list[list[str]]:
    subprocess.run(
        [sys.executable, str(CHILD), mode, scenario, str(root)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    told: list[list[str]] = json.loads((root / "told.json").read_text())
    return told


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_process_killed_at_any_step_loses_nothing_and_leaves_nothing_in_the_way(
    tmp_path: Path, scenario: str
) -> None:
    told = play("die", scenario, tmp_path)
    assert len(told) > 20
    for place, lines in enumerate(told):
        # What a damaged file held is copied before it is moved aside: killed between, it is there twice.
        check_folder(tmp_path / str(place), lines, damaged=scenario in DAMAGED, twice=scenario == "save")


# A damaged file that stays is not written to, so there nothing fails.
@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if each != "stay"])
def test_a_write_that_fails_anywhere_loses_nothing_and_the_spool_works_again_by_itself(
    tmp_path: Path, scenario: str
) -> None:
    told = play("fail", scenario, tmp_path)
    assert len([lines for lines in told if "!" in lines]) > 5
    for place, lines in enumerate(told):
        assert "+ 200" in lines
        check_folder(tmp_path / str(place), lines, damaged=scenario in DAMAGED)


def test_processes_killed_at_random_lose_nothing_that_they_acknowledged(tmp_path: Path) -> None:
    expected = Expected()
    source = random.Random(4)
    for _ in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, str(CHILD), "append", str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(source.randint(1, 60))]
        time.sleep(source.random() * 0.01)
        child.kill()
        expected.hear(lines + child.stdout.readlines())
        child.wait()
        child.stdout.close()
    spools = all_spools(tmp_path)
    expected.check([number for spool in spools for number in numbers(spool)])
    drain_and_close(spools)
    assert list(tmp_path.iterdir()) == []
