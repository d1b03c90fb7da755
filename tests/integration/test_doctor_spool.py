"""`cdr doctor` on the spool's folder, on what receivers tell of theirs, and on the store of recordings."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from doctoring import OF_THE_TESTS, Here, here, product

from common.receiver_state import SpoolState

__all__ = ["here", "product"]

ON_A_FULL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from cdr.main import main
main()
"""


def faults(here: Here) -> dict[str, str]:
    return {name: status for name, status in here.faults().items() if name not in OF_THE_TESTS}


@contextmanager
def held(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_a_receiver_without_a_spool_folder_is_a_warning(here: Here) -> None:
    here.unset("CDR_SPOOL_DIR")
    found = here.findings()
    assert {each["status"] for name, each in found.items() if name.startswith("spool.")} == {"warning"}
    assert "503" in found["spool.writable"]["detail"]


@pytest.mark.parametrize("folder", ["/proc/self", "/nowhere/to/be/found"])
def test_a_folder_that_cannot_be_written_is_a_problem(here: Here, folder: str) -> None:
    here.set(CDR_SPOOL_DIR=folder)
    assert here.findings()["spool.writable"]["status"] == "problem"


def test_a_full_disk_is_a_problem(here: Here) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, "doctor"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    [line] = [line for line in done.stdout.splitlines() if "spool.writable" in line]
    assert line.startswith("problem  spool.writable           cannot write in ")
    assert list(here.spool.iterdir()) == []


def test_the_trial_leaves_no_file(here: Here) -> None:
    assert here.findings()["spool.writable"]["status"] == "ok"
    assert list(here.spool.iterdir()) == []


def test_a_disk_with_less_room_than_the_bound_is_a_warning(here: Here) -> None:
    here.set(CDR_SPOOL_MAX_BYTES=str(1 << 60))
    assert faults(here) == {"spool.space": "warning"}


def test_what_is_spooled_counts_into_the_bound(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1 << 20}))
    assert faults(here) == {"spool.space": "warning"}
    (here.spool / "1-2-3.spool").write_bytes(bytes(1 << 20))
    with held(here.spool / "1-2-3.spool.lock"):
        assert faults(here) == {}


def test_a_file_that_no_receiver_holds_is_a_warning(here: Here) -> None:
    for name in ("1-2-3", "4-5-6", "7-8-9"):
        (here.spool / f"{name}.spool").touch()
    (here.spool / "4-5-6.spool.lock").touch()
    with held(here.spool / "7-8-9.spool.lock"):
        assert faults(here) == {"spool.abandoned": "warning"}
        assert here.findings()["spool.abandoned"]["detail"] == "no receiver holds 1-2-3.spool, 4-5-6.spool"


def test_the_doctor_keeps_no_lock(here: Here) -> None:
    (here.spool / "1-2-3.spool").touch()
    (here.spool / "1-2-3.spool.lock").touch()
    here.findings()
    with (here.spool / "1-2-3.spool.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_damaged_files_are_a_warning_that_names_them(here: Here) -> None:
    for number in range(7):
        (here.spool / f"{number}.spool.damaged").touch()
        (here.spool / f"{number}.spool.damaged-wal").touch()
    assert faults(here) == {"spool.damaged": "warning"}
    assert "4.spool.damaged and 2 more" in here.findings()["spool.damaged"]["detail"]


def test_a_receiver_that_stores_nothing_is_a_problem(here: Here) -> None:
    here.publish("receiver-2", stores_in="nothing", reason="the disk is full")
    assert faults(here) == {"receivers.store": "problem"}
    assert "receiver-2 (the disk is full)" in here.findings()["receivers.store"]["detail"]


def test_a_receiver_that_stores_in_its_spool_is_a_warning(here: Here) -> None:
    spool = SpoolState(entries=2, cdrs=7, bytes=100, max_bytes=1000, oldest_seconds=61.4)
    here.publish("receiver-2", stores_in="spool", reason="Redis is away", spool=spool)
    assert faults(here) == {"receivers.store": "warning"}
    told = "receiver-2 (Redis is away; 7 CDRs spooled, the oldest 0:01:01 ago)"
    assert told in here.findings()["receivers.store"]["detail"]


@pytest.mark.parametrize(
    ("spool", "status"),
    [
        (None, "warning"),
        (SpoolState(problem="the folder is not writable"), "problem"),
        (SpoolState(damaged=["entry 1 of a.spool is not what was written"]), "warning"),
        (SpoolState(bytes=801, max_bytes=1000), "warning"),
        (SpoolState(bytes=799, max_bytes=1000), None),
    ],
)
def test_the_spool_of_a_receiver_elsewhere(here: Here, spool: SpoolState | None, status: str | None) -> None:
    here.publish("receiver-2", spool=spool)
    assert faults(here) == ({"receivers.spool": status} if status else {})


def test_no_word_of_any_receiver_is_a_warning(here: Here) -> None:
    here.product.redis.delete("cdr:receivers")
    assert faults(here) == {"receivers.heard_of": "warning"}


def test_the_trial_leaves_no_recording(here: Here) -> None:
    assert here.findings()["recordings.store"]["status"] == "ok"
    assert [path for path in here.recordings.rglob("*") if path.is_file()] == []


def test_any_host_for_recordings_is_a_warning(here: Here) -> None:
    assert here.findings()["recordings.hosts"]["status"] == "ok"
    here.set(CDR_RECORDING_HOSTS="open")
    assert faults(here) == {"recordings.hosts": "warning"}


def test_a_store_that_cannot_be_made_is_a_problem(here: Here) -> None:
    here.set(CDR_RECORDINGS_URL="file:///proc/none/of/this")
    assert faults(here) == {"recordings.store": "problem"}


def test_a_store_that_cannot_be_written_is_a_problem(here: Here) -> None:
    here.recordings.mkdir()
    (here.recordings / ".incoming").touch()
    assert faults(here) == {"recordings.store": "problem"}
