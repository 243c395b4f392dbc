"""A finding of one of the two upper links. Pure."""

from __future__ import annotations

from agent.diagnose.view import ChainView
from agent.model import Finding, Kind, Link, SourceKey


def finding(
    view: ChainView,
    link: Link,
    kind: Kind,
    since: float,
    evidence: str,
    *,
    cause: str = "",
    remedy: str = "",
    sources: tuple[SourceKey, ...] = (),
) -> Finding:
    """``since`` 0: it is not known."""
    # The first time at which we found it stays, so that a finding's age survives restarts and repeated looks.
    known = view.memory.since.get(kind.value)
    return Finding(
        chain=view.es.key, link=link, kind=kind, since=min(since, known) if known else since,
        evidence=evidence, cause=cause, remedy=remedy, sources=sources,
    )  # fmt: skip
