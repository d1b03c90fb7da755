"""The README says what is true: its settings are the settings, its commands are the commands."""

from __future__ import annotations

import re
from pathlib import Path

import typer.main
from pydantic_core import PydanticUndefined

from cdr.main import app
from common import settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GROUPS = (
    settings.RedisSettings,
    settings.DatabaseSettings,
    settings.AccountDefaults,
    settings.ReceiverSettings,
    settings.SpoolSettings,
    settings.RecordingSettings,
    settings.HookSettings,
    settings.LogSettings,
)


def defaults() -> dict[str, object]:
    fields = {f"CDR_{name.upper()}": field for group in GROUPS for name, field in group.model_fields.items()}
    return {name: field.default for name, field in fields.items()}


def readme_table() -> dict[str, str]:
    rows = re.findall(r"^\| `(CDR_[A-Z_]+)` \|(.*?)\|", README, flags=re.MULTILINE)
    return {name: shown.strip() for name, shown in rows}


def test_every_setting_stands_in_the_readme_and_nothing_else_does() -> None:
    assert set(readme_table()) == set(defaults())


def test_the_readme_names_each_default() -> None:
    for name, shown in readme_table().items():
        default = defaults()[name]
        if default is PydanticUndefined:
            assert shown.startswith("required"), name
        elif default in ("", None, ()):
            assert not shown, name
        elif isinstance(default, tuple):
            assert shown == f"`{','.join(map(str, default))}`", name
        else:
            assert shown == f"`{str(default).lower() if isinstance(default, bool) else default}`", name


def test_every_command_stands_in_the_readme() -> None:
    command = typer.main.get_command(app)
    for name in command.commands:  # type: ignore[attr-defined]
        assert f"`cdr {name}" in README, name


def test_the_files_that_the_readme_links_to_are_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]
