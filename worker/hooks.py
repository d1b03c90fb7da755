"""What hooks of your own are written with: the loaded CDR, how to ask for another try or for none, and a ready webhook.

This is the public face of docs/hooks.md, and all of it: other modules change as they need to, these names stay.
"""

from __future__ import annotations

from worker.loaded_cdr import GiveUp, LoadedCdr, TryLater

__all__ = ["GiveUp", "LoadedCdr", "TryLater", "webhook"]


def webhook(cdr: LoadedCdr) -> None:
    """Post the CDR to CDR_WEBHOOK_URL, signed with CDR_WEBHOOK_SECRET; raises whatever asks for another try."""
    from worker.post_webhook import post_event

    post_event(cdr)
