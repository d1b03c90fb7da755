"""The options that commands share: a time that ends before it begins is wrong usage everywhere."""

from __future__ import annotations

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from cdr.main import app

WITH_A_TIME = {
    "clock recompute",
    "clock report",
    "extensions backfill",
    "failed discard",
    "failed list",
    "failed replay",
    "quarantine discard",
    "quarantine list",
    "quarantine replay",
    "recordings list",
    "recordings retry",
    "recordings verify",
}


@pytest.mark.parametrize("command", sorted(WITH_A_TIME))
@pytest.mark.parametrize(
    "options",
    [
        ("--since", "2026-01-02T00:00Z", "--until", "2026-01-01T00:00Z"),
        ("--until", "2026-01-01T00:00Z", "--since", "2026-01-02T00:00Z"),
    ],
)
def test_a_time_that_ends_before_it_begins_is_wrong_usage(command: str, options: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*command.split(), *options])

    told = "cdr: --since (2026-01-02T00:00:00+00:00) is later than --until (2026-01-01T00:00:00+00:00)\n"
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", told)


def test_every_command_with_both_options_was_tried() -> None:
    groups = get_command(app).commands.items()  # type: ignore[attr-defined]
    commands = {
        f"{group_name} {name}": {option.name for option in command.params}
        for group_name, group in groups
        for name, command in getattr(group, "commands", {}).items()
    }
    assert {name for name, options in commands.items() if {"since", "until"} <= options} == WITH_A_TIME
