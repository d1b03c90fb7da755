"""Says in plain words what looks wrong with the clock of an account, and which command would mend it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from cdr.clock.counts import FAR_MINUTES, ClockCounts
from worker.accounts import Account

# Fewer CDRs than this can all come from one strange morning, such as the tests of a new number.
ENOUGH_CDRS = 10
# `auto` reads each CDR by its own id, so a forced rule is worse as soon as it is wrong about more than stray ones, such as
# a leg that has the id of an earlier call. A right forced rule is contradicted by chance only.
CONTRADICTED_SHARE = 0.05
# Calls that lasted long before they were numbered differ too; a wrong zone makes all differ, or those of half the year.
DISAGREED_SHARE = 0.1
# A wrong zone gives one difference in summer and maybe another in winter; what differs by chance gives many.
ONE_DIFFERENCE_SHARE = 0.5
# What nearly all ids say of `time` will be true of the CDRs whose id says nothing.
UNANIMOUS_SHARE = 0.9

_NEAR_MINUTES = 10
_OTHER = {"local": "utc", "utc": "local"}
_IS = {"local": "wall-clock time", "utc": "a true epoch"}


@dataclass(frozen=True)
class Verdict:
    """What looks wrong; `finding` is its name for programs, `command` is None where nothing can be mended by one."""

    account: str
    finding: str
    text: str
    command: str | None

    @property
    def line(self) -> str:
        """All of it in one line."""
        return f"{self.account}: {self.text}" + (f": {self.command}" if self.command else "")


def verdicts_on(account: str, counts: ClockCounts, settings: Account) -> list[Verdict]:
    """Judge the CDRs of one account by the settings that hold for it now; nothing is wrong where the list is empty."""
    judged = (_forced, _zone, _scattered, _fallback, _unconfirmed)
    found = [verdict for judge in judged if (verdict := judge(account, counts, settings)) is not None]
    # While a setting looks wrong, reading the CDRs anew by it would make right ones wrong.
    if counts.outdated and not any(verdict.command for verdict in found):
        found.append(_outdated(account, counts, settings))
    return found


def _forced(account: str, counts: ClockCounts, settings: Account) -> Verdict | None:
    rule = settings.time_rule
    if rule not in _OTHER:
        return None
    other = _OTHER[rule]
    against = _of(counts, other)
    if not _is_many(against, counts.compared, CONTRADICTED_SHARE):
        return None
    said = f"{_share(against, counts.compared)} are {_IS[other]}, but time_rule is forced to {rule}"
    return Verdict(account, "forced_rule", said, _commands(account, "--time-rule auto"))


def _zone(account: str, counts: ClockCounts, settings: Account) -> Verdict | None:
    if not _is_many(counts.disagreed, counts.compared, DISAGREED_SHARE):
        return None
    minutes, alike = _commonest(counts)
    if alike < ONE_DIFFERENCE_SHARE * counts.disagreed or abs(minutes) >= FAR_MINUTES:
        return None
    way = "ahead of" if minutes > 0 else "behind"
    said = (
        f"{_share(alike, counts.compared)} have an id {abs(minutes)} minutes {way} time, which is no offset of "
        f"{settings.time_zone} then: the zone is probably another, or the ids are not in the time of the account"
    )
    return Verdict(account, "time_zone", said, _commands(account, "--time-zone ZONE"))


def _scattered(account: str, counts: ClockCounts, settings: Account) -> Verdict | None:
    if not _is_many(counts.disagreed, counts.compared, DISAGREED_SHARE) or _zone(account, counts, settings):
        return None
    said = f"{_share(counts.disagreed, counts.compared)} fit neither reading, and each by another difference"
    return Verdict(account, "scattered", f"{said}: compare call {counts.examples['neither']} with what you know", None)


def _fallback(account: str, counts: ClockCounts, settings: Account) -> Verdict | None:
    undated = counts.timed - counts.compared
    other = _OTHER[settings.time_fallback]
    told = counts.wall_clock + counts.epoch
    if settings.time_rule != "auto" or not undated or not _is_many(_of(counts, other), told, UNANIMOUS_SHARE):
        return None
    said = (
        f"{_share(_of(counts, other), counts.compared)} are {_IS[other]}, but {undated:,} whose id has none "
        f"are read as {settings.time_fallback}"
    )
    return Verdict(account, "time_fallback", said, _commands(account, f"--time-fallback {other}"))


def _unconfirmed(account: str, counts: ClockCounts, settings: Account) -> Verdict | None:
    if counts.compared or counts.timed < ENOUGH_CDRS:
        return None
    rule = settings.time_fallback if settings.time_rule == "auto" else settings.time_rule
    said = f"no id has a date: nothing confirms that the clock is {rule}; compare started_at of a call that you know"
    return Verdict(account, "unconfirmed", said, None)


def _outdated(account: str, counts: ClockCounts, settings: Account) -> Verdict:
    said = f"{counts.outdated:,} of {counts.cdrs:,} CDRs were read by other settings than hold now"
    against = _of(counts, _OTHER[settings.time_rule]) if settings.time_rule in _OTHER else 0
    if against:
        # They are few, but whoever has just set the wrong rule has no others yet.
        contradicted = f", of which the ids of {against:,} contradict: look at the settings first"
        return Verdict(account, "outdated", f"{said}{contradicted}", None)
    return Verdict(account, "outdated", f"{said}; if these are the right ones", _recompute(account))


def _of(counts: ClockCounts, rule: str) -> int:
    return counts.wall_clock if rule == "local" else counts.epoch


def _is_many(part: int, whole: int, share: float) -> bool:
    return part >= ENOUGH_CDRS and part >= share * whole


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} CDRs whose id has a date"


def _commonest(counts: ClockCounts) -> tuple[int, int]:
    """Return the difference that most ids have, in minutes, and how many have it within ten minutes."""
    minutes = max(counts.neither, key=lambda each: (counts.neither[each], -abs(each)))
    near = range(minutes - _NEAR_MINUTES, minutes + _NEAR_MINUTES + 1)
    return minutes, sum(counts.neither[each] for each in near)


def _commands(account: str, setting: str) -> str:
    return f"cdr accounts set {shlex.quote(account)} {setting} && {_recompute(account)}"


def _recompute(account: str) -> str:
    return f"cdr clock recompute --account {shlex.quote(account)}"
