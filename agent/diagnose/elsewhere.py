"""Data of a Secret that somebody else than ESO changed, and whether a sync of ESO has put it right since. Pure.

Only what ESO does not notice by itself comes here: an edit that does not fit ESO's data-hash is told by that hash.
"""

from __future__ import annotations

from agent.diagnose.view import ChainView
from agent.memory import ABSENT, Entry

_APART = 2.0
"""Seconds by which the clock of the API server that stamped a write may be ahead of the one whose time we go by.

Taken for ESO's sync, a restored old value would have the pods recycled that hold the current one; the other way round,
one sync too many is asked for.
"""


def undone(view: ChainView) -> bool:
    """Whether ESO says to have undone somebody's change of the Secret which is still in the Secret as we know it.

    Either it found nothing to undo, or what it wrote has not come to us yet.
    """
    wrote = changed_at(view)
    return wrote is not None and synced_since(view, wrote)


def changed_at(view: ChainView) -> float | None:
    """When somebody else than ESO changed data of the Secret, if nothing of it was written by ESO since."""
    secret = view.secret
    if secret is None or secret.foreign_wrote is None or not secret.foreign_writers:
        return None
    wrote = secret.foreign_wrote
    if (secret.eso_wrote is not None and secret.eso_wrote > wrote) or not _moved_at(view, wrote):
        return None
    return wrote


def synced_since(view: ChainView, wrote: float) -> bool:
    """A good sync later than the change has put right what it changed.

    One that ESO began later, or a force-sync of ours that we saw acknowledged: it has rewritten the data.
    """
    refreshed = view.es.refresh_time
    return (refreshed is not None and refreshed > wrote) or view.memory.covered_at > wrote + 1


def _moved_at(view: ChainView, wrote: float) -> bool:
    """Whether we saw the data move with that write, or cannot tell because it came before our first look.

    A write that leaves the data as it was (a backup restored with the current values) is nothing.
    """
    memory = view.secret_memory
    if memory is None or wrote + 1 < memory.first_look:
        return True
    return any(entries[0].hi + _APART >= wrote and _differs_from_before(entries) for entries in memory.keys.values())


def _differs_from_before(entries: tuple[Entry, ...]) -> bool:
    before = next((entry.value for entry in entries[1:] if entry.value != ABSENT), entries[0].value)
    return before != entries[0].value
