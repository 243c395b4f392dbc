"""What has changed from one look at a chain to the next. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from agent.model import Finding, Kind, Link

_ORDER = tuple(Link)
_BESIDE = frozenset({Kind.DISABLED, Kind.EXPIRING, Kind.EXPIRED, Kind.NOT_YET_VALID})
"""What is said of a vault secret, however the chain is."""


def same(old: Finding, new: Finding | None) -> bool:
    """Whether a finding is still what it was; its evidence may have grown."""
    return new is not None and (old.kind, old.cause) == (new.kind, new.cause)


def in_its_place(gone: Finding, found: Iterable[Finding]) -> Kind | None:
    """What keeps a link from being in order of which a finding is gone: one on it, or on one before it; None: nothing.

    A link that is no longer judged, since one before it is broken, is not healed by that.
    """
    for finding in found:
        before = _ORDER.index(finding.link) <= _ORDER.index(gone.link)
        if before and finding.workload in (None, gone.workload) and finding.kind not in _BESIDE:
            return finding.kind
    return None
