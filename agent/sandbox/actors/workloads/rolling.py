"""The arithmetic of Deployment rollouts, pure. Mirrors kube-controller-manager's deployment controller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.sandbox.actors.controller.objects import scaled


@dataclass(frozen=True, kw_only=True)
class ReplicaSetView:
    """What the arithmetic knows of one ReplicaSet. ``replicas`` is asked for, ``available`` is there."""

    name: str
    created: str
    replicas: int
    available: int = 0
    max_replicas: int | None = None
    """The deployment's size plus surge when this set was last scaled."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """A rollout's size and fence posts, in pods."""

    replicas: int
    surge: int
    unavailable: int

    @classmethod
    def of(cls, replicas: int, max_surge: int | str, max_unavailable: int | str) -> Limits:
        """Percentages of the size: surge rounds up, unavailable down, and both at zero would never move."""
        surge = scaled(max_surge, replicas, round_up=True)
        unavailable = scaled(max_unavailable, replicas, round_up=False)
        if surge == 0 and unavailable == 0:
            unavailable = 1
        return cls(replicas=replicas, surge=surge, unavailable=min(unavailable, replicas))


def new_set_replicas(limits: Limits, new: ReplicaSetView, old: Sequence[ReplicaSetView]) -> int:
    """The size that the newest ReplicaSet takes in this step."""
    if new.replicas >= limits.replicas:
        return limits.replicas
    total = new.replicas + sum(s.replicas for s in old)
    room = limits.replicas + limits.surge - total
    if room <= 0:
        return new.replicas
    return new.replicas + min(room, limits.replicas - new.replicas)


def old_set_replicas(limits: Limits, new: ReplicaSetView, old: Sequence[ReplicaSetView]) -> dict[str, int]:
    """The sizes of the old ReplicaSets that shrink in this step: unhealthy pods first, then the oldest set's."""
    old = sorted(old, key=lambda s: (s.created, s.name))
    total = new.replicas + sum(s.replicas for s in old)
    at_least = limits.replicas - limits.unavailable
    may_go = total - at_least - (new.replicas - new.available)
    if may_go <= 0:
        return {}
    sizes = {s.name: s.replicas for s in old}
    for each in old:
        unhealthy = min(may_go, each.replicas - each.available)
        if unhealthy > 0:
            sizes[each.name] -= unhealthy
            may_go -= unhealthy
    spare = new.available + sum(s.available for s in old) - at_least
    for each in old:
        count = min(sizes[each.name], spare)
        if count > 0:
            sizes[each.name] -= count
            spare -= count
    return {s.name: sizes[s.name] for s in old if sizes[s.name] != s.replicas}


def proportional(limits: Limits, sets: Sequence[ReplicaSetView]) -> dict[str, int]:
    """A deployment resized in mid-rollout spreads the difference over its sets by their share."""
    allowed = limits.replicas + limits.surge if limits.replicas else 0
    left = allowed - sum(s.replicas for s in sets)
    by_size = sorted(sets, key=lambda s: (s.created, s.name), reverse=left > 0)
    by_size.sort(key=lambda s: -s.replicas)
    sizes: dict[str, int] = {}
    for each in by_size:
        share = _share(each, allowed)
        share = min(share, left) if left > 0 else max(share, left)
        if left == 0 or (share > 0) != (left > 0):
            share = 0
        sizes[each.name] = each.replicas + share
        left -= share
    if by_size and left:
        sizes[by_size[0].name] = max(0, sizes[by_size[0].name] + left)
    return {s.name: sizes[s.name] for s in sets if sizes[s.name] != s.replicas}


def _share(one: ReplicaSetView, allowed: int) -> int:
    was = one.max_replicas or allowed
    return round(one.replicas * allowed / was) - one.replicas if was else -one.replicas
