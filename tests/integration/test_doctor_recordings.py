"""`cdr doctor` tries the recordings' store as a recorder would use it, wherever it is."""

from __future__ import annotations

import pytest
from doctoring import Here, here, product
from s3_server import S3, SECRET

from cdr.processes import run_worker
from common.errors import ConfigurationError

__all__ = ["here", "product"]


def test_a_bucket_is_tried_and_nothing_of_it_stays(here: Here, s3: S3, s3_bucket: str) -> None:
    here.set(CDR_RECORDINGS_URL=f"s3://{s3_bucket}/prefix")

    found = here.findings()["recordings.store"]

    assert (found["status"], found["detail"]) == (
        "ok", f"an object in s3://{s3_bucket}/prefix was written, read back and deleted",
    )  # fmt: skip
    assert b"<Key>" not in s3.ask("GET", f"/{s3_bucket}?list-type=2")


def test_a_bucket_that_does_not_exist_is_a_problem(here: Here, s3: S3) -> None:
    here.set(CDR_RECORDINGS_URL="s3://nowhere")

    found = here.findings()["recordings.store"]

    assert (found["status"], found["detail"]) == (
        "problem", "CDR_RECORDINGS_URL: there is no such bucket: s3://nowhere",
    )  # fmt: skip
    assert "docs/recordings.md" in found["advice"]


def test_a_bucket_in_which_a_second_writer_overwrites_the_first_is_a_problem(
    here: Here, s3: S3, s3_bucket: str
) -> None:
    s3.overwrites = True
    here.set(CDR_RECORDINGS_URL=f"s3://{s3_bucket}")

    assert "If-None-Match" in here.findings()["recordings.store"]["detail"]


def test_a_key_that_may_not_write_is_a_problem_and_not_shown(here: Here, s3: S3, s3_bucket: str) -> None:
    s3.failing = "403 Forbidden"
    here.set(CDR_RECORDINGS_URL=f"s3://{s3_bucket}")

    done = here.doctor()

    assert "HTTP 403" in done.out
    assert SECRET not in done.out + done.err


def test_a_recorder_does_not_start_with_a_bucket_that_does_not_exist(here: Here, s3: S3) -> None:
    here.set(CDR_RECORDINGS_URL="s3://nowhere")

    with pytest.raises(ConfigurationError, match="CDR_RECORDINGS_URL: there is no such bucket"):
        run_worker("recordings")


def test_a_recorder_starts_while_its_store_does_not_answer(
    here: Here, s3: S3, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.failing = "503 Service Unavailable"
    here.set(CDR_RECORDINGS_URL=f"s3://{s3_bucket}")
    monkeypatch.setattr("worker.queue_worker.work", lambda queue, _connection: len(queue))

    assert run_worker("recordings") == len("recordings")
