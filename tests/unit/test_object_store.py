"""The stores of the clouds: how they fail, how long that takes, what they are told, and what they never tell."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import obstore
import pytest
from obstore.store import AzureStore, GCSStore, S3Store
from s3_server import S3, SECRET

from common.errors import ConfigurationError, Transient
from common.store_url import read_store_url
from worker.recordings.object_store import Deadlines, ObjectStore
from worker.recordings.recording_store import RecordingStore
from worker.recordings.upload_budget import Budget

KEY = "acme/2026/11/23/call-Queue.mp3"
IMPATIENT = Deadlines(connect_seconds=1, request_seconds=0.5, retry_seconds=0.5)


@contextmanager
def silence() -> Iterator[str]:
    """Listen on the loopback, take whatever is sent, and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def place(store: ObjectStore, content: bytes = b"abc") -> None:
    with store.staging.staged([content]) as staged:
        if staged.size_bytes > store.most_created_bytes:
            store.write(staged, KEY)
        else:
            store.create(staged, KEY)


def test_a_bucket_that_does_not_exist_stops_the_process_at_its_start(s3: S3) -> None:
    with pytest.raises(ConfigurationError, match=r"^CDR_RECORDINGS_URL: there is no such bucket: s3://nowhere/x$"):
        RecordingStore("s3://nowhere/x").require()


def test_a_bucket_that_goes_away_later_is_a_passing_trouble(s3: S3) -> None:
    with pytest.raises(Transient, match="HTTP 404, NoSuchBucket"):
        place(ObjectStore(read_store_url("s3://nowhere/x")))


@pytest.mark.parametrize("status", ["403 Forbidden", "500 Internal Server Error", "503 Slow Down"])
def test_a_store_that_refuses_or_fails_is_a_passing_trouble_and_says_which(s3: S3, s3_bucket: str, status: str) -> None:
    store = ObjectStore(read_store_url(f"s3://{s3_bucket}"), IMPATIENT)
    s3.failing = status

    for act in (store.require, lambda: place(store), lambda: store.digest(KEY), lambda: list(store.objects("acme"))):
        with pytest.raises(Transient) as told:
            act()
        assert f"HTTP {status[:3]}" in str(told.value)


def test_what_goes_wrong_is_told_without_a_secret(
    s3: S3, s3_bucket: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.failing = "403 Forbidden"
    with pytest.raises(Transient) as told:
        place(ObjectStore(read_store_url(f"s3://{s3_bucket}/x"), IMPATIENT))

    assert (told.value.__cause__, told.value.__suppress_context__) == (None, True)
    assert not [word for word in (SECRET, "an-access-key", s3.url) if word in str(told.value)]
    assert SECRET not in caplog.text


def test_an_address_that_nobody_listens_at_is_a_passing_trouble(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")

    with pytest.raises(Transient, match="it cannot be reached"):
        place(ObjectStore(read_store_url("s3://bucket"), IMPATIENT))


@pytest.mark.parametrize("large", [False, True])
def test_a_store_that_never_answers_is_given_up_in_a_time_that_grows_with_the_deadline_only(
    s3: S3, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    took = []
    with silence() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        if large:
            monkeypatch.setattr(ObjectStore, "most_created_bytes", 1)
        for request_seconds in (0.5, 2.0):
            deadlines = Deadlines(connect_seconds=1, request_seconds=request_seconds, retry_seconds=request_seconds)
            began = time.monotonic()
            with pytest.raises(Transient, match="no answer in time"):
                place(ObjectStore(read_store_url("s3://bucket"), deadlines), bytes(9 << 20) if large else b"abc")
            took.append((time.monotonic() - began) / request_seconds)

    # One request, and perhaps one more; generous, because the machine may be busy.
    assert all(1 <= each < 8 for each in took)


def test_without_credentials_only_the_machine_itself_is_asked(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)

    with pytest.raises(Transient, match="no credentials are set, and this machine has none of its own"):
        place(ObjectStore(read_store_url("s3://bucket"), IMPATIENT))

    assert s3.requests == []


def test_with_credentials_nobody_else_is_asked_for_any(s3: S3, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as metadata:
        metadata.setblocking(False)
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{metadata.getsockname()[1]}")

        RecordingStore(f"s3://{s3_bucket}").try_out()

        with pytest.raises(BlockingIOError):
            metadata.accept()


@pytest.mark.parametrize(
    ("url", "environment", "message"),
    [
        ("s3://bucket", {"AWS_ACCESS_KEY_ID": "x"}, "AWS_SECRET_ACCESS_KEY is not set"),
        ("az://container", {}, "AZURE_STORAGE_ACCOUNT_NAME is not set"),
        (
            "az://container",
            {"AZURE_STORAGE_ACCOUNT_NAME": "x", "AZURE_STORAGE_ACCOUNT_KEY": "hush!"},
            "AZURE_STORAGE_ACCOUNT_KEY is no such key",
        ),
        ("gs://bucket", {"GOOGLE_APPLICATION_CREDENTIALS": "/none"}, "GOOGLE_APPLICATION_CREDENTIALS cannot be read"),
        ("gs://bucket", {"GOOGLE_APPLICATION_CREDENTIALS": __file__}, "holds no credentials"),
        ("s3://bucket/a/../b", {}, r"\.\."),
        ("s3://a:b@bucket", {}, "credentials go into the variables of the cloud"),
    ],
)
def test_what_cannot_be_used_stops_the_process_and_is_named(
    url: str, environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError, match=rf"^CDR_RECORDINGS_URL: .*{message}") as told:
        RecordingStore(url)
    assert "hush" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "environment", "kind"),
    [
        ("gs://bucket/a/prefix", {}, GCSStore),
        ("gs://bucket/", {}, GCSStore),
        ("az://container/prefix/", {"AZURE_STORAGE_ACCOUNT_NAME": "x"}, AzureStore),
        ("s3://bucket", {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}, S3Store),
    ],
)
def test_each_cloud_has_a_store_of_its_own(
    url: str, environment: dict[str, str], kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    store = ObjectStore(read_store_url(url))._store

    assert isinstance(store, kind)
    assert (store.prefix or "") == read_store_url(url).prefix


def test_a_staging_file_can_be_read_by_nobody_else(s3: S3) -> None:
    with RecordingStore("s3://bucket").staged([b"abc"]) as staged:
        assert staged.path.stat().st_mode & 0o777 == 0o600


def test_a_staging_folder_that_cannot_be_made_stops_the_process(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file" / "folder"))

    with pytest.raises(ConfigurationError, match=r"^TMPDIR: "):
        RecordingStore("s3://bucket")


def test_an_object_says_what_it_is(s3: S3, s3_bucket: str) -> None:
    store = ObjectStore(read_store_url(f"s3://{s3_bucket}"))
    place(store)

    attributes = obstore.get(store._store, KEY, options={"head": True}).attributes
    assert attributes == {"Content-Type": "audio/mpeg", "sha256": hashlib.sha256(b"abc").hexdigest()}


def test_uploads_hold_no_more_than_the_budget_at_a_time() -> None:
    budget, held, most = Budget(100, patience_seconds=60), [0], [0]
    lock = threading.Lock()

    def upload(size_bytes: int) -> None:
        with budget.taken(size_bytes):
            with lock:
                held[0] += size_bytes
                most[0] = max(most[0], held[0])
            time.sleep(0.001)
            with lock:
                held[0] -= size_bytes

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(upload, [1, 30, 60, 100] * 25))

    assert held == [0]
    assert 60 <= most[0] <= 100


def test_who_waits_too_long_for_the_others_is_told_so() -> None:
    budget = Budget(100, patience_seconds=0.01)
    with budget.taken(60), pytest.raises(Transient, match="too long"), budget.taken(60):
        pass
    with budget.taken(100):
        pass


def test_a_process_that_keeps_recordings_in_a_folder_does_not_load_the_library_of_the_clouds(tmp_path: Path) -> None:
    code = (
        "import sys, worker.context, worker.jobs; "
        "from worker.recordings.recording_store import RecordingStore as Store;"
        f"Store({tmp_path.as_uri()!r}).try_out(); sys.exit('obstore' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
