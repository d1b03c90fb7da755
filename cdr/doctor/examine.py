"""Runs the checks: sections side by side, each check for itself, and all of it within a bound of time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cdr.doctor.finding import Finding, Status, info, problem
from common.errors import CdrError

Subject = TypeVar("Subject")
# Above the sum of what one section's connection may wait for; a folder on a dead network disk has no bound of its own.
SECONDS = 15.0
_AGAIN = "mend this and ask again"


@dataclass(frozen=True)
class Section(Generic[Subject]):
    """Checks of one subject, such as a server, by name; the first says whether there is one.

    `opened` gives the subject, or a Finding that holds for every check of the section.
    """

    opened: Callable[[], AbstractContextManager[Subject | Finding]]
    checks: Mapping[str, Callable[[Subject], Finding]]


@dataclass(frozen=True)
class Checked:
    """A check's name and what it found."""

    check: str
    status: Status
    detail: str
    advice: str


def examine(sections: Sequence[Section[Any]], seconds: float = SECONDS) -> list[Checked]:
    """Run all checks and return what each found, in their order; takes `seconds` at most."""
    deadline = time.monotonic() + seconds
    under_way = [(section, *_start(section)) for section in sections]
    for _, thread, _ in under_way:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [each for section, _, found in under_way for each in _complete(section, list(found), seconds)]


def _start(section: Section[Any]) -> tuple[threading.Thread, list[Checked]]:
    found: list[Checked] = []
    # What hangs must not keep the command from ending.
    thread = threading.Thread(target=_examine, args=(section, found), name="checks", daemon=True)
    thread.start()
    return thread, found


def _examine(section: Section[Any], found: list[Checked]) -> None:
    try:
        with section.opened() as subject:
            for name, check in section.checks.items():
                found.append(_checked(name, subject if isinstance(subject, Finding) else _tried(check, subject)))
    except CdrError as error:
        first, *others = section.checks
        found.append(_checked(first, problem(str(error), "start it and wait until it is up, or mend its address")))
        found.extend(_checked(name, info(f"not checked: see {first}")) for name in others)


def _tried(check: Callable[[Any], Finding], subject: Any) -> Finding:
    try:
        return check(subject)
    except CdrError as error:
        return problem(str(error), _AGAIN)
    except Exception as error:  # noqa: BLE001 - whatever a check stumbles over must not hide what the others find
        return problem(f"cannot be checked: {type(error).__name__}: {error}", _AGAIN)


def _complete(section: Section[Any], found: list[Checked], seconds: float) -> list[Checked]:
    """Add what was not reached in time: the check at hand is what does not answer."""
    names = list(section.checks)[len(found) :]
    late = [problem(f"no answer within {seconds:g} s", "see whether its server or disk hangs")]
    return [
        *found,
        *(_checked(name, finding) for name, finding in zip(names, late, strict=False)),
        *(_checked(name, info(f"not checked: see {names[0]}")) for name in names[1:]),
    ]


def _checked(name: str, finding: Finding) -> Checked:
    return Checked(name, finding.status, _one_line(finding.detail), finding.advice)


def _one_line(words: object) -> str:
    return " ".join(str(words).split())
