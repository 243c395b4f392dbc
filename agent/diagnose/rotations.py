"""Whether a new version comes to every container within the policy's time: the service level, counted once each. Pure.

A rotation is one new version of a vault secret on its way through one chain. It opens when the version is witnessed,
and closes when nothing of the chain drifts any more. That it is late is counted at the moment when it becomes so, not
when it ends: one that never ends must be counted, too. What is open is in the ledger, so that a restart, or the next
run of a CronJob, counts nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from agent.diagnose.view import ChainReport
from agent.memory import Rotation, SourceMemory
from agent.model import Link, State

STANDS = 10.0
"""Seconds for which nothing must drift: ESO's status is told before the Secret, the Secret before its containers."""

_OPEN = frozenset({State.STALE, State.AWAITING, State.UNKNOWN})
_NOT_FOLLOWED = frozenset({State.EXCLUDED, State.PINNED})


class Ended(NamedTuple):
    """One rotation that is counted now. ``source``: ``str`` of its key; ``seconds`` since the version's creation."""

    source: str
    in_time: bool
    seconds: float


class Advance(NamedTuple):
    """The rotations that stay open, those that are counted now, and when to look again."""

    open: dict[str, Rotation]
    ended: tuple[Ended, ...]
    wake_at: float | None


def opened(known: Rotation | None, source: SourceMemory) -> Rotation | None:
    """The rotation that a witnessed change of a vault secret begins; None: the change brings no new version.

    A version that is replaced before it came everywhere passes its clock on, unless it was counted as late.
    """
    former, state = source.former, source.state
    new = source.witnessed and state.present and state.enabled
    if not new or (former is not None and former.state.created == state.created):
        return known
    if known is not None and not known.late:
        return replace(known, done=0.0)
    return Rotation(begun=state.created)


def advance(rotations: Mapping[str, Rotation], report: ChainReport, now: float, objective: float) -> Advance:
    """What a new verdict of a chain makes of its open rotations."""
    states = [report.state(link) for link in Link]
    if any(state in _NOT_FOLLOWED for state in states):
        return Advance({}, (), None)
    done = not any(state in _OPEN for state in states)
    still: dict[str, Rotation] = {}
    ended: list[Ended] = []
    wakes: list[float] = []
    for source, rotation in rotations.items():
        following = _one(rotation, now, objective, done=done)
        if following.counted is not None:
            ended.append(Ended(source, following.counted, following.seconds))
        if following.rotation is not None:
            still[source] = following.rotation
            wakes += _wakes(following.rotation, now, objective)
    return Advance(still, tuple(ended), min(wakes, default=None))


class _Following(NamedTuple):
    rotation: Rotation | None
    counted: bool | None = None
    seconds: float = 0.0


def _one(rotation: Rotation, now: float, objective: float, *, done: bool) -> _Following:
    came = (rotation.done or now) if done else 0.0
    age = (came or now) - rotation.begun
    late = rotation.late or age > objective
    following = replace(rotation, done=came, late=late)
    if late and not rotation.late:
        return _Following(following, False, age)
    if not came or now - came < STANDS:
        return _Following(following)
    return _Following(None) if late else _Following(None, True, age)


def _wakes(rotation: Rotation, now: float, objective: float) -> Iterator[float]:
    if rotation.done:
        yield rotation.done + STANDS
    elif not rotation.late:
        yield max(now, rotation.begun + objective) + 1
