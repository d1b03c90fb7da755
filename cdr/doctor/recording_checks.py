"""Checks of the recordings' store: an object can be written, read back and deleted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cdr.doctor.examine import Section
from cdr.doctor.finding import Finding, ok, problem, settings_of
from common.errors import CdrError
from common.settings import RecordingSettings

# By whether recordings are kept in a folder.
_ADVICE = {
    True: "mend the folder of CDR_RECORDINGS_URL, its owner or its disk",
    False: "mend CDR_RECORDINGS_URL, the variables of its cloud, or what its key may do: docs/recordings.md",
}


@contextmanager
def _opened() -> Iterator[RecordingSettings | Finding]:
    yield settings_of(RecordingSettings, "settings.recordings")


def _store(settings: RecordingSettings) -> Finding:
    from worker.recording_store import RecordingStore

    try:
        RecordingStore(settings.recordings_url).try_out()
    except CdrError as error:
        return problem(str(error), _ADVICE[settings.recordings_url.startswith("file:")])
    return ok(f"an object in {settings.recordings_url} was written, read back and deleted")


RECORDINGS: Section[RecordingSettings] = Section(_opened, {"recordings.store": _store})
