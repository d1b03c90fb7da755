"""Checks of the spool's folder on this machine: it can be written, has room, and holds no file that nobody drains."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from cdr.doctor.examine import Section
from cdr.doctor.finding import Finding, not_set, ok, problem, settings_of, warning
from common.environment import is_given
from common.settings import ReceiverSettings, SpoolSettings

TRIAL_BYTES = 64 * 1024
_NAMED = 5


@dataclass(frozen=True)
class Folder:
    """The folder and the bound of what it may hold."""

    path: Path
    max_bytes: int


@contextmanager
def _opened() -> Iterator[Folder | Finding]:
    settings = settings_of(SpoolSettings, "settings.spool")
    if isinstance(settings, Finding):
        yield settings
    elif settings.spool_dir is not None:
        yield Folder(settings.spool_dir, settings.spool_max_bytes)
    elif is_given(ReceiverSettings):
        yield warning("CDR_SPOOL_DIR is not set: while Redis is away the answer is 503", "set CDR_SPOOL_DIR")
    else:
        yield not_set(["CDR_SPOOL_DIR"])


def _writable(folder: Folder) -> Finding:
    trial = folder.path / f".doctor-{uuid4().hex}"
    try:
        with os.fdopen(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(bytes(TRIAL_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return problem(f"cannot write in {folder.path}: {error}", "mend the folder, its owner or its disk")
    finally:
        trial.unlink(missing_ok=True)
    return ok(f"a file in {folder.path} was written, fsynced and removed")


def _space(folder: Folder) -> Finding:
    free = shutil.disk_usage(folder.path).free
    room = folder.max_bytes - sum(_size(path) for path in folder.path.iterdir())
    if free < room:
        return warning(
            f"{_mebibytes(free)} are free on its disk, {_mebibytes(room)} are left of CDR_SPOOL_MAX_BYTES",
            "free the disk, or lower CDR_SPOOL_MAX_BYTES",
        )
    return ok(f"{_mebibytes(free)} are free on its disk")


def _size(path: Path) -> int:
    # Beside a receiver at work files come and go.
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _abandoned(folder: Folder) -> Finding:
    abandoned = sorted(path.name for path in folder.path.glob("*.spool") if not _is_held(path))
    if not abandoned:
        return ok("no file without a receiver")
    return warning(
        f"no receiver holds {_list(abandoned)}", "start: cdr receiver, which takes them over and drains them"
    )


def _is_held(spool: Path) -> bool:
    """Tell whether a process holds the lock beside a spool file, without waiting and without keeping it."""
    try:
        descriptor = os.open(spool.with_name(f"{spool.name}.lock"), os.O_RDONLY)
    except FileNotFoundError:
        # Its receiver may have emptied and removed it by now.
        return not spool.exists()
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _damaged(folder: Folder) -> Finding:
    damaged = sorted(path.name for path in folder.path.glob("*.spool.damaged"))
    if not damaged:
        return ok("no file was moved aside")
    return warning(
        f"moved aside: {_list(damaged)}; what could be read was saved",
        "look into the receiver's log and at the disk, then keep them elsewhere or delete them",
    )


def _list(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _mebibytes(size: int) -> str:
    return f"{size / 1024 / 1024:,.0f} MiB"


SPOOL: Section[Folder] = Section(
    _opened,
    {
        "spool.writable": _writable,
        "spool.space": _space,
        "spool.abandoned": _abandoned,
        "spool.damaged": _damaged,
    },
)
