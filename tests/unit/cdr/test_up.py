"""What `cdr up` says and answers around its supervisor, which is replaced by one that is ready at once."""

from __future__ import annotations

import io
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from free_ports import free_port

from cdr import up
from cdr.data_folder import DataFolder
from cdr.up import UpOptions, run_up
from common.errors import ConfigurationError


class ReadyAtOnce:
    seen: dict[str, str]
    settings: dict[str, str]

    def __init__(self, _stages: object, logs: Path, _announce: object) -> None:
        self.logs = logs

    def run(self, on_ready: Callable[[], None]) -> None:
        on_ready()
        ReadyAtOnce.seen = DataFolder(self.logs.parent).addresses()
        ReadyAtOnce.settings = DataFolder(self.logs.parent).settings()


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CDR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(up, "Supervisor", ReadyAtOnce)


def test_the_address_is_printed_with_an_example_once_all_is_ready(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_up(UpOptions(data=tmp_path, port=0)) == 0

    output = capsys.readouterr().out
    address = ReadyAtOnce.seen["CDR_RECEIVER_URL"]
    assert f"The address to give to the provider:\n  {address}\n  (this machine only" in output
    assert f"curl -sS '{address}' --data '{up.EXAMPLE}'" in output
    assert f"Data is in {tmp_path}" in output
    assert DataFolder(tmp_path).addresses() == {}


@pytest.mark.parametrize(
    ("level", "meaning"),
    [(None, "on disk (fsync)"), ("redis", "in the memory of Redis, which may lose it in a crash")],
)
def test_what_an_acknowledgement_means_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, level: str | None, meaning: str
) -> None:
    if level:
        monkeypatch.setenv("CDR_ACK_LEVEL", level)

    run_up(UpOptions(data=tmp_path, port=0))

    assert f"\nAcknowledged means: {meaning}\n" in capsys.readouterr().out


def test_what_the_children_are_given_is_published_while_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDR_ACK_LEVEL", "redis")
    monkeypatch.setenv("CDR_DATABASE_URL", "postgresql://theirs.invalid/cdr")

    run_up(UpOptions(data=tmp_path, port=0))

    expected = {
        "CDR_ACK_LEVEL": "redis",
        "CDR_DATABASE_URL": "postgresql://theirs.invalid/cdr",
        "CDR_SPOOL_DIR": str(tmp_path / "spool"),
    }
    assert expected.items() <= ReadyAtOnce.settings.items()
    assert DataFolder(tmp_path).settings() == {}


def test_the_public_address_is_the_one_to_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDR_PUBLIC_URL", "https://cdr.example.com")

    run_up(UpOptions(data=tmp_path, port=0))

    assert "provider:\n  https://cdr.example.com/cdr/" in (output := capsys.readouterr().out)
    assert "this machine only" not in output


def test_ports_are_kept_and_an_explicit_one_is_taken(tmp_path: Path) -> None:
    run_up(UpOptions(data=tmp_path, port=0))
    first = DataFolder(tmp_path).ports()
    run_up(UpOptions(data=tmp_path, port=0))
    assert DataFolder(tmp_path).ports() == first
    assert len(set(first.values())) == 3

    chosen = free_port()
    run_up(UpOptions(data=tmp_path, port=chosen))
    assert DataFolder(tmp_path).ports() == {**first, "receiver": chosen}


def test_what_keeps_it_from_starting_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ConfigurationError("PostgreSQL does not run as root")

    monkeypatch.setattr(ReadyAtOnce, "run", fail)

    assert run_up(UpOptions(data=tmp_path, port=0)) == 1
    assert capsys.readouterr().err == "cdr up: PostgreSQL does not run as root\n"


def test_a_terminal_that_has_gone_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())

    assert run_up(UpOptions(data=tmp_path, port=0)) == 0


def test_the_package_runs_as_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["cdr", "--help"])

    with pytest.raises(SystemExit) as ended:
        runpy.run_module("cdr", run_name="__main__")

    assert ended.value.code == 0
    assert "Usage: cdr" in capsys.readouterr().out


def test_settings_of_its_children_are_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDR_HOOKS", "worker.hooks:webhook")

    assert run_up(UpOptions(data=tmp_path, port=0)) == 1
    assert capsys.readouterr().err.startswith("cdr up: CDR_WEBHOOK_URL and CDR_WEBHOOK_SECRET must be set")
