"""What a check finds: whether it is well, what is so, and what to do about it."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeVar

from common.environment import Group, load, missing
from common.errors import ConfigurationError

Status = Literal["ok", "info", "warning", "problem"]
AnyGroup = TypeVar("AnyGroup", bound=Group)


class Finding(NamedTuple):
    """One check's answer: `problem` breaks a promise, `warning` weakens one, `info` could or need not be checked, or is good to know."""

    status: Status
    detail: str
    advice: str = ""


def ok(detail: str) -> Finding:
    """Say that all is well."""
    return Finding("ok", detail)


def info(detail: str) -> Finding:
    """Say why there is nothing to check, or nothing to mend."""
    return Finding("info", detail)


def warning(detail: str, advice: str) -> Finding:
    """Say what makes a promise weaker, and what to do."""
    return Finding("warning", detail, advice)


def problem(detail: str, advice: str) -> Finding:
    """Say what breaks a promise, and what to do."""
    return Finding("problem", detail, advice)


def settings_of(group: type[AnyGroup], check: str) -> AnyGroup | Finding:
    """Read a group, or say why what depends on it is not checked; `check` is the one that tells what is wrong."""
    try:
        absent = missing(group)
        return not_set(absent) if absent else load(group)
    except ConfigurationError:
        return info(f"not checked: see {check}")


def not_set(names: list[str]) -> Finding:
    """Say that this environment is that of a process which does not need these variables."""
    return info(f"not set here: {', '.join(names)}")
