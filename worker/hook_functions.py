"""The functions that CDR_HOOKS names: imported once, and refused with the reason when they cannot be called as hooks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from common.errors import ConfigurationError
from worker.loaded_cdr import LoadedCdr

Hook = Callable[[LoadedCdr], Any]

# What these return when they are called does nothing until somebody runs it, and nobody would.
_DO_NOTHING_WHEN_CALLED = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


def import_hooks(names: Iterable[str]) -> dict[str, Hook]:
    """Return the function of each name; raises ConfigurationError saying why one is none that can be called."""
    return {name: _import(name) for name in names}


def _import(name: str) -> Hook:
    module, _, function = name.partition(":")
    try:
        found: Hook = getattr(import_module(module), function)
    except (Exception, SystemExit) as error:
        # The module is the user's own and may raise anything, be it that it ends the process.
        raise ConfigurationError(f"CDR_HOOKS: {name} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ConfigurationError(f"CDR_HOOKS: {name} is no function")
    if any(does_nothing(found) for does_nothing in _DO_NOTHING_WHEN_CALLED):
        raise ConfigurationError(f"CDR_HOOKS: {name} is async or a generator: a hook is a plain function")
    return found
