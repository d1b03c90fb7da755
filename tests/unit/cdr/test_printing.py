"""What the commands print for people: the same times everywhere, and a row a line where no terminal sets a width."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cdr.printing import print_count, print_table


def test_a_row_is_one_line_without_a_terminal_however_wide(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("call", "error"), [("a" * 300, "x " * 300 + "end"), ("b", None)])

    heading, wide, narrow = capsys.readouterr().out.splitlines()
    assert wide == "a" * 300 + "  " + "x " * 300 + "end"
    assert (heading.split(), narrow) == (["call", "error"], "b")


def test_a_terminal_gets_rows_as_wide_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")

    print_table(("call",), [("a" * 60,)])

    assert [line.strip() for line in capsys.readouterr().out.splitlines()[1:]] == ["a" * 40, "a" * 20]


def test_times_say_their_offset(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("at",), [(datetime(2026, 1, 31, 10, 0, 0, 5, UTC),)])

    assert capsys.readouterr().out.splitlines()[1] == "2026-01-31T10:00:00+00:00"


@pytest.mark.parametrize(("count", "told"), [(0, "0 jobs\n"), (1, "1 job\n"), (1234, "1,234 jobs\n")])
def test_one_is_not_told_like_many(capsys: pytest.CaptureFixture[str], count: int, told: str) -> None:
    print_count(count, "job", "jobs", as_json=False)

    assert capsys.readouterr().err == told


def test_a_script_gets_the_count_alone(capsys: pytest.CaptureFixture[str]) -> None:
    print_count(1234, "job", "jobs", as_json=True)

    assert "".join(capsys.readouterr().out.split()) == '{"count":1234}'
