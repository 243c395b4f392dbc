"""Source events: what happened to a vault secret between two sweeps. Pure.

A sweep lists the attributes of each secret's newest version. Its ``created``, its enabled state and its presence are
evidence; ``updated`` is not, since any edit of a tag moves it.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from agent.memory import SourceMemory, VersionSeen
from agent.model import SourceState

KEPT_VERSIONS = 16
KEPT_FORMER = 3


def look(memory: SourceMemory | None, state: SourceState, *, at: float, before: float = 0.0) -> SourceMemory:
    """What is known of a secret after an answer (complete at ``at``, API server's clock) showed ``state``.

    ``before``: when the last answer of this process was asked for, which showed what is remembered (0: there is none).
    """
    if memory is None:
        return SourceMemory(
            state=state, event_at=state.created if state.present else at, seen_at=at, versions=_with(state, ())
        )
    if memory.state == state:
        return memory
    if memory.state.identity == state.identity:
        return replace(memory, state=state)
    newer = state.present and _newer(state, memory)
    return SourceMemory(
        state=state,
        event_at=state.created if newer else at,
        seen_at=at,
        witnessed=True,
        versions=_with(state, memory.versions),
        former=_past(memory, KEPT_FORMER),
        unseen_at=_unseen_at(state, memory, before, newer=newer),
    )


def as_of(memory: SourceMemory, at: float) -> tuple[SourceMemory, float] | None:
    """How a secret was at ``at``, and `created` of the first version since (0: not known; infinite: there is none).

    None: it changed more often since than is remembered.
    """
    earliest = float("inf")
    while memory.witnessed and memory.seen_at > at:
        if memory.former is None:
            return None
        earliest, memory = min(earliest, memory.earliest), memory.former
    return memory, earliest


def learn_versions(memory: SourceMemory, versions: Iterable[VersionSeen]) -> SourceMemory:
    """Add what a version list says; ids and enabled states of a list win over what we had."""
    merged = {version.created: version for version in memory.versions}
    merged.update({version.created: version for version in versions})
    newest_first = sorted(merged.values(), key=lambda version: -version.created)
    return replace(memory, versions=tuple(newest_first[:KEPT_VERSIONS]))


def newest_enabled(memory: SourceMemory) -> VersionSeen | None:
    """The newest version that may be read, as far as known."""
    return next((version for version in memory.versions if version.enabled), None)


def previous(memory: SourceMemory) -> VersionSeen | None:
    """The newest enabled version before the current one: the one to go back to."""
    older = (v for v in memory.versions if v.enabled and v.created < memory.state.created)
    return next(older, None)


def versions_between(memory: SourceMemory, begin: float, end: float) -> tuple[float, ...]:
    """``created`` of the enabled versions that were the newest at some moment of [begin, end] (vault's clock)."""
    found = []
    superseded = float("inf")
    for version in memory.versions:
        if version.enabled and version.created <= end and superseded >= begin:
            found.append(version.created)
        if version.enabled:
            superseded = version.created
    return tuple(found)


def _newer(state: SourceState, memory: SourceMemory) -> bool:
    """Whether it is a newer version than the one before; of a secret that has returned, also that very one.

    One that is older has come by another way than time: out of a backup.
    """
    if memory.state.present:
        return state.created > memory.state.created
    return all(state.created >= version.created for version in memory.versions[:1])


def _unseen_at(state: SourceState, memory: SourceMemory, before: float, *, newer: bool) -> float:
    """When an answer proved for the last time that the newest version was not there yet.

    That a secret was gone says nothing of the version with which it returns: it was only hidden.
    """
    if newer and memory.state.present:
        return before
    restored = state.present and any(state.created < version.created for version in memory.versions[:1])
    return 0.0 if restored else memory.unseen_at


def _past(memory: SourceMemory | None, deep: int) -> SourceMemory | None:
    if memory is None or not deep:
        return None
    return replace(memory, versions=(), former=_past(memory.former, deep - 1))


def _with(state: SourceState, known: tuple[VersionSeen, ...]) -> tuple[VersionSeen, ...]:
    if not state.present:
        return known
    newest = VersionSeen(created=state.created, enabled=state.enabled)
    former = next((version for version in known if version.created == state.created), None)
    if former is not None:
        newest = replace(former, enabled=state.enabled)
    return (newest, *(version for version in known if version.created != state.created))[:KEPT_VERSIONS]
