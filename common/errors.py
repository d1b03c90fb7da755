"""Every failure of the product, and what it means for the sender and for the job.

::

    CdrError
    ├── Rejected                 the sender's fault: answered, kept in quarantine, never retried
    │   ├── Unreadable           the body cannot be parsed
    │   ├── NotACdr              parsed, but it names no call
    │   ├── TooLarge             over a limit; answered, not kept
    │   └── TooSlow              the body did not end in time; answered, not kept
    ├── Transient                ours or a neighbour's: tried again until it works
    │   ├── QueueUnavailable     Redis does not answer, or does not confirm
    │   ├── SpoolUnavailable     the disk spool is full, fails, or there is none
    │   ├── TooBusy              more is in flight than the receiver may hold
    │   ├── DatabaseUnavailable  PostgreSQL does not answer, is full, read-only, restarting or busy
    │   ├── DatabaseNotReady     the schema or a privilege is missing: waits for a migration
    │   ├── NewerPayload         a job written by a newer release: left in the queue for a newer worker
    │   └── RecordingNotReady    the recording may come later
    ├── Permanent                set aside with its reason, replayed by a person
    │   ├── RefusedByDatabase    PostgreSQL refuses the values of this one CDR
    │   ├── RecordingGone        the recording never came, or is no audio
    │   └── RecordingRefused     the address may not be fetched
    └── ConfigurationError       the process does not start

Each class carries a stable `reason`: codes are for logs, metrics and rows, messages are for people.
"""

from __future__ import annotations


class CdrError(Exception):
    """The root of every failure that this product raises on purpose.

    `sqlstate` is PostgreSQL's five-character code where it was PostgreSQL that failed; None otherwise.
    """

    reason = "error"

    def __init__(self, message: str = "", sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class Rejected(CdrError):
    """The sender's fault: answered with the reason, kept in quarantine, never retried."""

    reason = "rejected"


class Unreadable(Rejected):
    """The body cannot be parsed as any of the formats."""

    reason = "unreadable"


class NotACdr(Rejected):
    """The body was parsed, but it holds no call id."""

    reason = "not_a_cdr"


class TooLarge(Rejected):
    """The body, or what it decompresses to, is over the limit."""

    reason = "too_large"


class TooSlow(Rejected):
    """The body did not end within its time."""

    reason = "too_slow"


class Transient(CdrError):
    """A failure of ours or of a neighbour that passes: the work is tried again."""

    reason = "transient"


class QueueUnavailable(Transient):
    """Redis did not answer, refused the write, or did not confirm it."""

    reason = "queue_unavailable"


class SpoolUnavailable(Transient):
    """The disk spool is full, its disk fails, or there is no spool."""

    reason = "spool_unavailable"


class TooBusy(Transient):
    """More requests or bytes are in flight than the receiver may hold."""

    reason = "too_busy"


class DatabaseUnavailable(Transient):
    """PostgreSQL is down, restarting, full, read-only or too busy."""

    reason = "database_unavailable"


class DatabaseNotReady(Transient):
    """The schema or a privilege is missing: no fault of the CDR, cured by a migration."""

    reason = "database_not_ready"


class NewerPayload(Transient):
    """A job was written by a newer release than this worker."""

    reason = "newer_payload"


class RecordingNotReady(Transient):
    """The recording is not there yet, or its host asks to wait."""

    reason = "recording_not_ready"


class Permanent(CdrError):
    """A failure that repeats until its cause is mended: set aside, to be replayed by a person."""

    reason = "permanent"


class RefusedByDatabase(Permanent):
    """PostgreSQL refuses the values of one CDR; without a `sqlstate` the driver refused before sending."""

    reason = "refused_by_database"


class RecordingGone(Permanent):
    """The recording did not come within its time, or what came is no audio."""

    reason = "recording_gone"


class RecordingRefused(Permanent):
    """The recording's address may not be fetched."""

    reason = "recording_refused"


class ConfigurationError(CdrError):
    """A setting is missing or wrong; the message names its variable."""

    reason = "configuration"
