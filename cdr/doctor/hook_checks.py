"""Checks of the user's own functions: each can be imported, and what the webhook posts cannot be read on its way."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from urllib.parse import urlsplit

from cdr.doctor.examine import Section
from cdr.doctor.finding import Finding, not_set, ok, settings_of, warning
from common.errors import ConfigurationError
from common.settings import HookSettings, is_loopback


@contextmanager
def _opened() -> Iterator[HookSettings | Finding]:
    yield settings_of(HookSettings, "settings.hooks")


def _importable(settings: HookSettings) -> Finding:
    from worker.hook_functions import import_hooks

    if not settings.hooks:
        return not_set(["CDR_HOOKS"])
    try:
        # What the user's module prints must not become a part of the list.
        with redirect_stdout(sys.stderr):
            import_hooks(settings.hooks)
    except ConfigurationError as error:
        # Its worker may have another PYTHONPATH, and variables of the user's own; one that runs has imported it.
        return warning(
            f"{error}, here",
            "all is well if a worker on hooks lives (cdr status); else mend it, or name its folder in PYTHONPATH",
        )
    return ok(f"imported: {', '.join(settings.hooks)}")


def _webhook(settings: HookSettings) -> Finding:
    if settings.webhook_url is None:
        return not_set(["CDR_WEBHOOK_URL"])
    parts = urlsplit(settings.webhook_url.get_secret_value())
    if parts.scheme == "https":
        return ok("CDR_WEBHOOK_URL is https")
    if _is_near(parts.hostname or ""):
        return ok("CDR_WEBHOOK_URL is http, to a private address")
    return warning("CDR_WEBHOOK_URL is not https: the CDRs can be read on the way", "name an https:// address")


def _is_near(host: str) -> bool:
    """Tell whether a host is of this machine or its own network, as a name without a dot is."""
    try:
        return is_loopback(host) or ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host


HOOKS: Section[HookSettings] = Section(_opened, {"hooks.importable": _importable, "hooks.webhook": _webhook})
