"""Reads groups of settings from the environment: the source, what all groups share, and errors that name the variable."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from common.errors import ConfigurationError


class EnvironmentOrFile(EnvSettingsSource):
    """The environment, in which `NAME_FILE` may name a file that holds the value of `NAME`."""

    def _load_env_vars(self) -> dict[str, str | None]:
        return self.read()

    @staticmethod
    def read() -> dict[str, str | None]:
        """Return what is set, by name in small letters; raise ConfigurationError for a file that cannot be read."""
        values: dict[str, str | None] = dict(os.environ)
        for name, value in os.environ.items():
            if not (name.startswith("CDR_") and name.endswith("_FILE") and value):
                continue
            try:
                values[name.removesuffix("_FILE")] = Path(value).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"{name}: cannot read {value}: {error}") from error
        return {name.lower(): value for name, value in values.items() if value}


class Group(BaseSettings):
    """What all groups share: the prefix, the source, and that they do not change."""

    model_config = SettingsConfigDict(env_prefix="CDR_", frozen=True, extra="ignore", hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic names the arguments
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the arguments, then the environment, and nothing else."""
        return init_settings, EnvironmentOrFile(settings_cls)


AnyGroup = TypeVar("AnyGroup", bound=Group)


def load(group: type[AnyGroup]) -> AnyGroup:
    """Read one group from the environment; raise ConfigurationError naming each wrong variable."""
    try:
        return group()
    except ValidationError as error:
        raise ConfigurationError("; ".join(_describe(line) for line in error.errors())) from error


def missing(group: type[Group]) -> list[str]:
    """Name the variables that a group requires and the environment lacks; raises ConfigurationError."""
    set_here = _set_here()
    required = (f"CDR_{name.upper()}" for name, field in group.model_fields.items() if field.is_required())
    return [name for name in required if name not in set_here]


def is_given(*groups: type[Group]) -> bool:
    """Tell whether the environment holds any setting of these groups; raises ConfigurationError."""
    set_here = _set_here()
    return any(f"CDR_{name.upper()}" in set_here for group in groups for name in group.model_fields)


def _set_here() -> set[str]:
    return {name.upper() for name in EnvironmentOrFile.read()}


def settings_here() -> dict[str, str]:
    """Return every setting of the product in this process's environment as it stands, files not read."""
    return {name: value for name, value in os.environ.items() if name.startswith("CDR_")}


def use_settings(settings: Mapping[str, str]) -> None:
    """Put other settings in the place of those of this process's environment."""
    for name in settings_here():
        del os.environ[name]
    os.environ.update(settings)


def problem_with(group: type[Group], name: str, value: object) -> str | None:
    """Say what is wrong with a value for one setting of a group; None when it would be taken."""
    try:
        group(**{name: value})
    except ValidationError as error:
        problems = [_message(line) for line in error.errors() if line["loc"][:1] == (name,)]
        return problems[0] if problems else None
    return None


def _describe(line: Any) -> str:
    field = str(line["loc"][0]) if line["loc"] else ""
    return f"CDR_{field.upper()}: {_message(line)}" if field else _message(line)


def _message(line: Any) -> str:
    return "is required" if line["type"] == "missing" else str(line["msg"]).removeprefix("Value error, ")
