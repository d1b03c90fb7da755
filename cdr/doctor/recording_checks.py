"""Checks of recordings: an object can be written to their store, read back and deleted, and not every host is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cdr.doctor.examine import Section
from cdr.doctor.finding import Finding, ok, problem, settings_of, warning
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
    from worker.recordings.recording_store import RecordingStore

    try:
        RecordingStore(settings.recordings_url).try_out()
    except CdrError as error:
        return problem(str(error), _ADVICE[settings.recordings_url.startswith("file:")])
    return ok(f"an object in {settings.recordings_url} was written, read back and deleted")


def _hosts(settings: RecordingSettings) -> Finding:
    if settings.recording_hosts.is_open:
        return warning(
            "recordings are fetched from any public host that a CDR names",
            "list those that you know in CDR_RECORDING_HOSTS, such as provider,recordings.example.org",
        )
    return ok("recordings are fetched from the hosts of CDR_RECORDING_HOSTS only")


RECORDINGS: Section[RecordingSettings] = Section(_opened, {"recordings.store": _store, "recordings.hosts": _hosts})
