"""Makes writes fail for want of room: a small file system for the spool where we are root, file size limits elsewhere."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SPOOL_DISK_MEGABYTES = 48
BALLAST = "ballast"
UNLIMITED = resource.RLIM_INFINITY


class SpoolDisk:
    """The folder of the spool. With a file system of its own it is filled; without, the receivers' files may not grow."""

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self.folder = folder / "entries"
        self.folder.mkdir(mode=0o700)
        self._ballast = folder / BALLAST
        self._mounted = mounted
        self._limited: set[int] = set()

    def fill(self, writers: Iterable[int]) -> None:
        """Leave no room for the processes that write there."""
        if self._mounted:
            with suppress(OSError), self._ballast.open("ab", buffering=0) as ballast:
                while ballast.write(bytes(65_536)):
                    pass
            return
        for pid in writers:
            limit_file_size(pid, 0)
            self._limited.add(pid)

    def empty(self) -> None:
        """Make room again."""
        self._ballast.unlink(missing_ok=True)
        while self._limited:
            limit_file_size(self._limited.pop(), UNLIMITED)


@contextmanager
def spool_disk(folder: Path) -> Iterator[SpoolDisk]:
    """Make the spool's folder for the length of a with-block: as root on a small file system of its own."""
    folder.mkdir(mode=0o711)
    mounted = os.geteuid() == 0 and _mount(folder)
    try:
        yield SpoolDisk(folder, mounted=mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(folder: Path) -> bool:
    # In a container root may lack the right to mount: then the other way is taken.
    command = ["mount", "-t", "tmpfs", "-o", f"size={SPOOL_DISK_MEGABYTES}m", "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def limit_file_size(pid: int, size: int) -> None:
    """Bound the size to which a running process may write files; what goes beyond fails as on a full disk."""
    with suppress(ProcessLookupError):
        # Only the soft limit: without it root alone could lift it again.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, UNLIMITED))
