"""`cdr env` writes what a shell can read, or says why it cannot."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cdr.data_folder import DataFolder
from cdr.show_env import naming, show_env

ADDRESS = "postgresql://cdr:p'a $word@127.0.0.1:5433/cdr"


def test_the_lines_are_safe_in_a_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = DataFolder(tmp_path)
    with folder.held():
        folder.show_addresses({"CDR_DATABASE_URL": ADDRESS})
        assert show_env(tmp_path) == 0

    script = f'{capsys.readouterr().out}\nprintf %s "$CDR_DATABASE_URL"'
    assert subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout == ADDRESS


def test_a_folder_on_which_nothing_runs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_env(tmp_path / "none") == 1

    output = capsys.readouterr()
    assert (output.out, output.err) == (
        "",
        f"cdr env: no `cdr up` is running on {tmp_path / 'none'}: --data names another folder\n",
    )


def test_a_start_that_is_under_way_is_told_from_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with DataFolder(tmp_path).held():
        assert show_env(tmp_path) == 1

    assert "is still starting" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("hint", "named"),
    [
        ("look: cdr clock report; it names the mend", "look: cdr clock report --data 'a b'; it names the mend"),
        (
            "cdr accounts set acme --time-rule auto && cdr clock recompute --account acme",
            "cdr accounts set --data 'a b' acme --time-rule auto && cdr clock recompute --data 'a b' --account acme",
        ),
        ("see why Redis takes nothing: cdr status", "see why Redis takes nothing: cdr status --data 'a b'"),
        ("cdr doctor --data DIR", "cdr doctor --data DIR"),
        ("start: cdr scheduler", "start: cdr scheduler"),
    ],
)
def test_a_hint_names_the_folder_that_was_given_where_the_command_can_be_told(hint: str, named: str) -> None:
    assert naming(Path("a b"), hint) == named
    assert naming(None, hint) == hint
