"""What has changed from one look at a chain to the next. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from agent.model import Finding, Kind, Link

_ORDER = tuple(Link)
BESIDE = frozenset({Kind.EXPIRING, Kind.EXPIRED, Kind.NOT_YET_VALID})
"""What is said of a vault secret, however the chain is."""
_FIRST: dict[Kind, frozenset[Kind]] = {
    Kind.SYNC_FAILED: frozenset({Kind.STALE}),
    Kind.SPEC_NOT_APPLIED: frozenset({Kind.STALE}),
    Kind.MISSING_SECRET: frozenset({Kind.SYNC_FAILED, Kind.SPEC_NOT_APPLIED, Kind.STALE, Kind.MISSING_KEY}),
}
"""Found before, or beside, these: where one of these is found and it is not, it is over (``upstream.judge``)."""


def same(old: Finding, new: Finding | None) -> bool:
    """Whether a finding is still what it was; its evidence may have grown."""
    return new is not None and (old.kind, old.cause) == (new.kind, new.cause)


def in_its_place(gone: Finding, found: Iterable[Finding]) -> Kind | None:
    """What keeps a link from being in order of which a finding is gone: one on it, or on one before it; None: nothing.

    A link that is no longer judged, since one before it is broken, is not healed by that.
    """
    beside = BESIDE | _FIRST.get(gone.kind, frozenset())
    for finding in found:
        before = _ORDER.index(finding.link) <= _ORDER.index(gone.link)
        if before and finding.workload in (None, gone.workload) and finding.kind not in beside:
            return finding.kind
    return None
