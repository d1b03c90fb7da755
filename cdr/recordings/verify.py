"""Runs `cdr recordings verify`: what is looked at, what is printed, and the exit code."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice

from cdr.audit import audited
from cdr.database import opened_database
from cdr.known_accounts import require_account
from cdr.options import failed
from cdr.printing import ROWS_FOR_PEOPLE, counted, print_json_list_in, print_line, print_warning
from cdr.recordings.days import Span, sample_keys
from cdr.recordings.findings import HARMLESS, WHAT_IS_DONE, WHAT_THEY_ARE, Finding, Verifier
from common.environment import load
from common.postgres import Database
from common.settings import RecordingSettings
from worker.recordings.recording_key import key_part
from worker.recordings.recording_store import RecordingStore

PROGRESS_SECONDS = 5.0


@dataclass(frozen=True)
class VerifyOptions:
    """What the command line says."""

    account: str | None
    since: datetime | None
    until: datetime | None
    deep: bool
    repair: bool
    everything_is_lost: bool

    @property
    def span(self) -> Span:
        """The days in which the moments are, because recordings lie by day."""
        first, last = (moment and moment.astimezone(UTC).date() for moment in (self.since, self.until))
        return Span(self.account, first, last)


@dataclass(frozen=True)
class _Compared:
    """How much was compared, and how much passed over because it is too young to tell."""

    rows_compared: int
    rows_passed_over: int
    objects_compared: int
    objects_passed_over: int

    @classmethod
    def by(cls, verifier: Verifier) -> _Compared:
        rows, objects = verifier.young_count, verifier.young_object_count
        return cls(verifier.row_count - rows, rows, verifier.object_count - objects, objects)


class _Tally:
    """Counts what is found, and what of it is left to be mended."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.mended: Counter[str] = Counter()

    def counted(self, findings: Iterator[Finding], tell: Callable[[int], None]) -> Iterator[Finding]:
        for finding in findings:
            self.found[finding.kind] += 1
            if finding.mended:
                self.mended[finding.kind] += 1
                tell(self.mended.total())
            yield finding

    @property
    def is_all_well(self) -> bool:
        return all(count == self.mended[kind] for kind, count in self.found.items() if kind not in HARMLESS)


def run_verify(options: VerifyOptions, *, as_json: bool) -> int:
    """Print what does not fit, and mend it when told to; returns 1 when something is left that should be mended."""
    store = RecordingStore(load(RecordingSettings).recordings_url)
    store.require()
    with opened_database("recordings") as database:
        if options.account is None or not store.folders(key_part(options.account)):
            # Of an account whose rows were all lost the objects are left.
            require_account(database, options.account)
        if not options.repair:
            return _verify(database, store, options, lambda _count: None, as_json=as_json)
        if not options.everything_is_lost:
            _refuse_another_store(database, store, options.span)
        with audited("recordings verify", asdict(options)) as tell:
            return _verify(database, store, options, tell, as_json=as_json)


def _refuse_another_store(database: Database, store: RecordingStore, span: Span) -> None:
    """End the command when no object of a sample is there: a disk that is not mounted, or another bucket, is no loss."""
    keys = sample_keys(database, span)
    if keys and not any(store.find(key) for key in keys):
        failed(
            f"nothing was mended: {len(keys)} objects were looked for, the first and the last that rows say are stored, and the store"
            " of CDR_RECORDINGS_URL has none of them. Check that its disk is mounted, and that its folder, or its bucket and"
            " prefix, are those that the recorders use. If all of it is lost indeed, --everything-is-lost has it fetched again"
        )


def _verify(
    database: Database, store: RecordingStore, options: VerifyOptions, tell: Callable[[int], None], *, as_json: bool
) -> int:
    verifier = Verifier(database, store, options.span, deep=options.deep, repair=options.repair)
    tally, progress = _Tally(), _Progress(verifier)
    findings = tally.counted(verifier.find(progress.tell), tell)
    if as_json:
        print_json_list_in("findings", findings, lambda: asdict(_Compared.by(verifier)))
    else:
        _print(findings)
        _summarise(_Compared.by(verifier), tally, repair=options.repair)
    return 0 if tally.is_all_well else 1


def _print(findings: Iterator[Finding]) -> None:
    for finding in islice(findings, ROWS_FOR_PEOPLE):
        concerned = f"recording {finding.recording_id}" if finding.recording_id else finding.account
        done = WHAT_IS_DONE.get(finding.kind, "mended") if finding.mended else None
        words = [finding.kind, concerned, finding.key, finding.detail, done]
        print_line(" ".join(word for word in words if word))
    if sum(1 for _ in findings):
        print_warning(f"only the first {ROWS_FOR_PEOPLE} are shown; --json shows all")


def _summarise(compared: _Compared, tally: _Tally, *, repair: bool) -> None:
    print_line(f"{_rows_and_objects(compared.rows_compared, compared.objects_compared)} compared")
    if compared.rows_passed_over or compared.objects_passed_over:
        passed_over = _rows_and_objects(compared.rows_passed_over, compared.objects_passed_over)
        print_line(f"{passed_over} passed over, because they changed within the hour")
    for kind, count in sorted(tally.found.items()):
        done = f", {tally.mended[kind]} of them {WHAT_IS_DONE.get(kind, 'mended')}" if repair else ""
        print_line(f"{count} {kind}{done}: {WHAT_THEY_ARE[kind]}")


def _rows_and_objects(rows: int, objects: int) -> str:
    return f"{counted(rows, 'row')} and {counted(objects, 'object')}"


class _Progress:
    """Tells on standard error now and again how far it is."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._due = time.monotonic() + PROGRESS_SECONDS

    def tell(self, prefix: str) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + PROGRESS_SECONDS
            print_warning(f"{prefix}: {self._verifier.row_count} rows, {self._verifier.object_count} objects so far")
