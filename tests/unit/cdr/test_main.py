"""The command itself: what it says about itself."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdr.data_folder import DataFolder
from cdr.doctor import command
from cdr.doctor.examine import Checked
from cdr.main import app


def test_it_tells_its_version() -> None:
    done = CliRunner().invoke(app, ["--version"])

    assert (done.exit_code, done.stdout) == (0, f"cdr-pipeline {version('cdr-pipeline')}\n")


def test_help_names_no_option_that_does_nothing_yet() -> None:
    help_text = CliRunner().invoke(app, ["up", "--help"], env={"COLUMNS": "200"}).output

    assert "--receivers" in help_text
    assert "--console-port" not in help_text


def test_one_warning_is_no_warnings(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "examine", lambda _sections: [Checked("redis.up", "warning", "slow", "wait")])

    command.run_doctor(None, as_json=False)

    assert capsys.readouterr().out.splitlines()[-1] == "1 check: 0 problems, 1 warning"


def test_what_doctor_advises_on_a_folder_is_on_that_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "examine", lambda _sections: [Checked("spool.room", "warning", "full", "cdr status")])
    monkeypatch.setenv("CDR_PORT", "8080")
    folder = DataFolder(tmp_path)
    with folder.held():
        folder.show_settings({"CDR_PORT": "8081"})
        command.run_doctor(tmp_path, as_json=False)

    assert f"full - cdr status --data {tmp_path}\n" in capsys.readouterr().out
