"""Whatever a CDR, a body or an answer holds, no command lets it steer the terminal that it prints to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import POISON, RECEIVED_AT_US, Product, delivery, product
from fake_receiver import Reply, fake_receiver

from cdr.main import app
from common.delivery import QuarantinedBody
from common.postgres import Database
from common.terminal import printable
from worker.quarantine import keep

__all__ = ["product"]

# A title set, a colour, a direction turned, an invisible space, a control character of eight bits, a tag.
HOSTILE = "x\x1b]0;owned\x07\x1b[31m\u202e\u200b\x9b2J\U000e0041\u2028\ry"
PROCESSES = {"up", "env", "receiver", "worker", "scheduler"}


@pytest.fixture
def hostile(product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Put hostile text wherever it may come from; return what stands for arguments."""
    monkeypatch.setenv("CDR_RECORDINGS_URL", (tmp_path / "recordings").as_uri())
    _keep_recordings(product, tmp_path / "recordings")
    _fail_a_job(product)
    _keep_a_body(product)
    _name_things(product)
    file = tmp_path / f"cdr {HOSTILE.replace('/', '')}\udcff.json"
    file.write_text(json.dumps({"ivruniqueid": "x"}), encoding="utf-8")
    told = Reply(err=1, text=json.dumps({"err": "1", "errdesc": HOSTILE}))
    with fake_receiver(lambda _number, _request: told) as receiver:
        [job_id] = product.redis.zrange("rq:failed:cdrs", 0, -1)
        [[body_id]] = product.query("SELECT max(quarantine_id) FROM cdr.quarantine")
        yield {"JOB": job_id.decode(), "BODY": str(body_id), "FILE": str(file), "URL": receiver.url, "BAD": HOSTILE}


def _fail_a_job(product: Product) -> None:
    product.refuse_poison()
    fields = dict.fromkeys(("queuename", "representative_name", "dialtime", f"field {HOSTILE}"), HOSTILE)
    product.enqueue([delivery(1, **{**fields, "caller": POISON, "ivruniqueid": "call\u202e"})])
    product.work()


def _keep_a_body(product: Product) -> None:
    database = Database(product.database_url, "test")
    headers = {"user-agent": HOSTILE}
    body = f"{HOSTILE} in no format".encode()
    keep(database, [QuarantinedBody(RECEIVED_AT_US, "default", "json", "unreadable", HOSTILE, headers, body)])
    database.close()


def _keep_recordings(product: Product, folder: Path) -> None:
    product.run(
        "INSERT INTO cdr.recordings (identity, provider_time, account, call_id, call_type, started_at, source_url, source_key,"
        " status, storage_key, bytes, sha256, last_error, updated_at) VALUES ('x', '2026-11-23', 'default', %s, %s,"
        " '2026-11-23', %s, 'x', 'stored', %s, 1, 'x', %s, '2026-11-23')",
        *(HOSTILE, HOSTILE, f"http://host.invalid/{HOSTILE}", f"default/2026/11/23/{HOSTILE}.wav", HOSTILE),
    )
    file = folder / "default" / "2026" / "11" / "23" / f"other {HOSTILE}.wav"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"RIFF")
    os.utime(file, (0, 0))
    product.run(
        "INSERT INTO cdr.cdrs (identity, provider_time, account, call_id, call_key, outcome, started_at, time_rule, payload,"
        " format, delivery_id, delivery_place, first_received_at, last_received_at, time_raw) VALUES ('x', '2026-11-23', %s, %s,"
        " gen_random_uuid(), 'other', now(), 'utc', '{}', 'json', gen_random_uuid(), 0, now(), now(), 1790000000)",
        *(HOSTILE, f"20200101000000{HOSTILE}"),
    )


def _name_things(product: Product) -> None:
    product.run(
        "INSERT INTO cdr.extensions (account, extension_code, extension_name, source) VALUES ('default', %s, %s, 'import')",
        HOSTILE,
        HOSTILE,
    )
    product.run("INSERT INTO cdr.accounts (account, time_zone) VALUES (%s, 'UTC')", HOSTILE)
    worker = {"hostname": HOSTILE, "state": "busy", "queues": "cdrs", "last_heartbeat": "2026-11-23T00:00:00.000000Z"}
    product.redis.hset(f"rq:worker:{HOSTILE}", mapping=worker)
    product.redis.sadd("rq:workers", f"rq:worker:{HOSTILE}")
    product.redis.hset("cdr:counters", "last_loaded_at", HOSTILE)


# Each command with the arguments that make it print, and whether what it prints quotes what was sent.
COMMANDS = [
    ("status", True),
    ("status --json", True),
    ("failed list", True),
    ("failed list --json", True),
    ("failed show JOB", True),
    ("failed show JOB --json", True),
    ("failed show BAD", True),
    ("failed replay --call-id BAD", False),
    ("failed discard --queue BAD", True),
    ("quarantine list", True),
    ("quarantine list --json", True),
    ("quarantine show BODY", True),
    ("quarantine show BODY --json", True),
    ("quarantine replay BODY", True),
    ("quarantine replay BODY --json", True),
    ("quarantine discard BODY", False),
    ("extensions list", True),
    ("extensions list --json", True),
    ("extensions import FILE --account BAD", True),
    ("extensions import FILE", True),
    ("extensions backfill --account BAD", False),
    ("recordings list", True),
    ("recordings list --json", True),
    ("recordings path --call-id BAD", True),
    ("recordings retry --call-id BAD", False),
    ("recordings verify", True),
    ("recordings verify --json", True),
    ("clock report", True),
    ("clock report --json", True),
    ("clock recompute --all", False),
    ("clock recompute --all --json", False),
    ("accounts list", True),
    ("accounts list --json", True),
    ("accounts set BAD", True),
    ("accounts set default --time-zone BAD", True),
    ("send FILE --url URL", True),
    ("send FILE --url URL --format form", True),
    ("send BAD --url URL", True),
    ("simulate --count 3 --url URL", True),
    ("doctor", False),
    ("doctor --json", False),
    ("migrate", False),
    ("migrate --status", False),
]


@pytest.mark.parametrize(("command", "quotes"), COMMANDS)
def test_what_a_command_prints_steers_no_terminal(
    product: Product, hostile: dict[str, str], command: str, *, quotes: bool
) -> None:
    done = product.cdr(*(hostile.get(word, word) for word in command.split()))
    assert done.out + done.err
    assert (printable(done.out), printable(done.err)) == (done.out, done.err)
    assert any(escape in done.out + done.err for escape in (r"\x1b", r"\u001b", r"\u202e")) is quotes


def test_an_export_is_to_the_letter_except_on_a_terminal(
    product: Product, hostile: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HOSTILE in product.cdr("extensions", "export").out
    monkeypatch.setattr("cdr.printing.sys.stdout.isatty", lambda: True, raising=False)
    shown = product.cdr("extensions", "export").out
    assert printable(shown) == shown


def test_every_command_that_prints_was_tried() -> None:
    tried = {
        " ".join(word for word in command.split()[:2] if word.islower() and word[0] != "-") for command, _ in COMMANDS
    }
    tried.add("extensions export")
    groups = {(group.name, group.typer_instance) for group in app.registered_groups}
    alone = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    grouped = {
        f"{name} {command.name or getattr(command.callback, '__name__', '')}"
        for name, group in groups
        if group is not None
        for command in group.registered_commands
    }
    assert {name.split(" ")[0] if name.split(" ")[0] in alone else name for name in tried} == (
        alone - PROCESSES
    ) | grouped
