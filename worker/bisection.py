"""Takes a batch apart that fails as a whole, so that what is at fault is found and its neighbours are done.

What is refused is found by halving: one of n costs about 2 log2(n) more tries. What fails in doubt, such as by a time-out,
may be the database's fault: then the caller's check decides, with something harmless, before anything is halved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from common.errors import CdrError, DatabaseNotReady, DatabaseUnavailable, Permanent, Rejected
from common.sqlstates import Decision, decide

Item = TypeVar("Item")

# One of 1,000 costs eleven; what is left then is held up as it is, so that a job does not take for ever.
MAX_DOUBTS = 24


class Failed(NamedTuple):
    """Items that could not be done, and why: of what was refused it is one."""

    items: list[Any]
    error: CdrError


def raise_first(failed: list[Failed]) -> None:
    """Raise why the first of them could not be done, if any."""
    if failed:
        raise failed[0].error


@dataclass
class Bisection(Generic[Item]):
    """Does `act` on as many items as it can.

    `act` is given items, and whether some have failed in doubt already, so that it should be quick to give up. `check` is
    called after each such failure and raises when the database is to blame; without it the failure is raised as it is.
    Afterwards `refused` are those whose values are at fault, each alone, and `held` those to be tried again later.
    """

    act: Callable[[list[Item], bool], None]
    check: Callable[[list[Item]], None] | None = None
    refused: list[Failed] = field(default_factory=list)
    held: list[Failed] = field(default_factory=list)
    _doubts: list[CdrError] = field(default_factory=list)

    def run(self, items: list[Item]) -> None:
        """Do `act` on all items; raises DatabaseUnavailable or DatabaseNotReady, when some may have been done."""
        if not items:
            return
        if len(self._doubts) >= MAX_DOUBTS:
            self.held.append(Failed(items, self._doubts[-1]))
            return
        try:
            self.act(items, bool(self._doubts))
        except (Permanent, Rejected) as error:
            self._take_apart(items, error, self.refused)
        except (DatabaseUnavailable, DatabaseNotReady) as error:
            if self.check is None or not is_doubtful(error):
                raise
            self._doubts.append(error)
            self.check(items)
            self._take_apart(items, error, self.held)

    def _take_apart(self, items: list[Item], error: CdrError, alone: list[Failed]) -> None:
        if len(items) == 1:
            alone.append(Failed(items, error))
            return
        middle = len(items) // 2
        self.run(items[:middle])
        self.run(items[middle:])


def is_doubtful(error: CdrError) -> bool:
    """Tell whether a failure that is tried again may all the same be the fault of what was sent."""
    return decide(error.sqlstate) is not Decision.WAIT
