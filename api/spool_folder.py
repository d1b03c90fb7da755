"""The folder that the spools of several receivers share: a file for each, and those that a dead one left behind."""

from __future__ import annotations

from pathlib import Path

import structlog

from api.spool import Spool
from api.spool_file import NewerFile
from api.spool_lock import DAMAGED_SUFFIX, SUFFIX, HeldFile, make_folder, spool_paths
from common.errors import SpoolUnavailable

_log = structlog.get_logger("api.spool_folder")


class SpoolFolder:
    """A folder, made when it is missing; its spools together take no more than `max_bytes`."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder.absolute()
        self._max_bytes = max_bytes
        self._reported: set[Path] = set()
        self._newer: set[Path] = set()

    def open(self) -> Spool:
        """Return the spool of this process: the oldest file that nobody holds, or else a new one.

        Raises SpoolUnavailable.
        """
        make_folder(self._folder)
        for path in spool_paths(self._folder):
            spool = self._take(path)
            if spool is not None and spool.damage is None:
                return spool
            if spool is not None:
                # It takes nothing more: what is in it is for `adopt`.
                spool.close()
        held = HeldFile.make(self._folder)
        try:
            return Spool(held, self._max_bytes)
        except SpoolUnavailable:
            held.remove()
            raise

    def adopt(self) -> list[Spool]:
        """Return spools with entries that nobody held, held by us now, to be drained and closed; clear away the empty.

        Raises SpoolUnavailable when the folder cannot be read.
        """
        adopted = []
        for path in spool_paths(self._folder):
            spool = self._take(path)
            if spool is None:
                continue
            if spool.state().entries:
                adopted.append(spool)
            else:
                spool.close()
        return adopted

    def damaged(self) -> list[Path]:
        """Return the files that were moved aside, for a person to look at."""
        return sorted(self._folder.glob(f"*{SUFFIX}{DAMAGED_SUFFIX}"))

    def _take(self, path: Path) -> Spool | None:
        """Return a file's spool unless somebody holds it or it is not for us; clear away what has no file."""
        if path in self._newer:
            return None
        try:
            held = HeldFile.take(path)
            if held is None:
                return None
            if not held.is_in_place:
                held.remove()
                return None
            try:
                return Spool(held, self._max_bytes)
            except SpoolUnavailable:
                held.release()
                raise
        except NewerFile as error:
            self._newer.add(path)
            self._report(path, error)
        except SpoolUnavailable as error:
            self._report(path, error)
        return None

    def _report(self, path: Path, error: SpoolUnavailable) -> None:
        if path not in self._reported:
            self._reported.add(path)
            _log.warning("a spool's file is left alone", file=path.name, reason=str(error))
