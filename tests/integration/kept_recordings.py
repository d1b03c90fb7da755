"""CDRs with recordings, their rows and their objects, for the tests of `cdr recordings`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import Done, Product, product
from loading import Loader, delivery, leg

from worker.outbox import work_off
from worker.recordings.recording_key import recording_key
from worker.recordings.recording_store import RecordingStore

__all__ = ["Kept", "kept", "kept_anywhere", "kept_in_bucket", "product"]

SIGNATURE = "?X-Amz-Signature=hush"


def two_hours_ago() -> datetime:
    return datetime.now(UTC) - timedelta(hours=2)


class Kept:
    """The recordings of one test: a store, and the command line on it."""

    def __init__(self, product: Product, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.product = product
        self.store = RecordingStore(url)
        self._loader = Loader(product.database_url)
        monkeypatch.setenv("CDR_RECORDINGS_URL", url)

    def cdr(self, *arguments: str) -> Done:
        return self.product.cdr("recordings", *arguments)

    def counted(self, *arguments: str) -> int:
        return self.product.counted("recordings", *arguments)

    def load(self, call_id: str, account: str = "acme", **fields: Any) -> int:
        """Load a CDR with a recording two hours ago, and return the id of its row."""
        told = {"type": "Queue", "record": f"https://somebody:hush@recordings.invalid/{call_id}{SIGNATURE}", **fields}
        assert not self._loader.load([delivery(leg(call_id, **told), account=account)])
        recording_id = int(self.product.query("SELECT max(recording_id) FROM cdr.recordings")[0][0])
        self.change(recording_id, updated_at=two_hours_ago())
        return recording_id

    def put(self, recording_id: int, content: bytes, key: str | None = None) -> str:
        """Put an object into the store for a row, as a recorder does before it writes the row."""
        account, started_at, call_id, call_type = self.product.query(
            "SELECT account, started_at, call_id, call_type FROM cdr.recordings WHERE recording_id = %s", recording_id
        )[0]
        with self.store.staged([content]) as staged:
            return self.store.place(staged, key or recording_key(account, started_at, call_id, call_type, "mp3")).key

    def mark(self, recording_id: int, key: str, content: bytes) -> None:
        """Write into a row what a recorder wrote there two hours ago."""
        self.change(
            recording_id, status="stored", storage_key=key, bytes=len(content), sha256=hashlib.sha256(content).digest(),
            attempts=1, updated_at=two_hours_ago(),
        )  # fmt: skip

    def keep(self, call_id: str, content: bytes = b"ID3 audio", **fields: Any) -> int:
        """Load a CDR whose recording is stored."""
        recording_id = self.load(call_id, **fields)
        self.mark(recording_id, self.put(recording_id, content), content)
        return recording_id

    def change(self, recording_id: int, **values: Any) -> None:
        columns = ", ".join(f"{name} = %s" for name in values)
        self.product.run(f"UPDATE cdr.recordings SET {columns} WHERE recording_id = %s", *values.values(), recording_id)

    def row(self, recording_id: int) -> dict[str, Any]:
        (row,) = self.product.query("SELECT to_jsonb(r) FROM cdr.recordings AS r WHERE recording_id = %s", recording_id)
        return dict(row[0])

    def queue(self) -> None:
        """Do what the scheduler does."""
        work_off(self._loader.database, self.product.redis)

    def noted(self) -> list[list[int]]:
        """Return the entries of the outbox that the scheduler makes jobs of."""
        rows = self.product.query("SELECT recording_ids FROM cdr.outbox WHERE kind = 'recordings' ORDER BY outbox_id")
        return [ids for (ids,) in rows]

    def close(self) -> None:
        self._loader.database.close()


def opened(product: Product, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    made = Kept(product, url, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def kept(product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """Recordings in a folder."""
    yield from opened(product, (tmp_path / "store").as_uri(), monkeypatch)


@pytest.fixture
def kept_in_bucket(product: Product, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """Recordings in a bucket."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield from opened(product, f"s3://{s3_bucket}/prefix", monkeypatch)


@pytest.fixture(params=["kept", "kept_in_bucket"])
def kept_anywhere(request: pytest.FixtureRequest) -> Kept:
    """Recordings in every kind of store that can be had here."""
    made: Kept = request.getfixturevalue(request.param)
    return made
