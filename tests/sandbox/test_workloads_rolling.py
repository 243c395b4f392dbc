"""The arithmetic of rollouts, without a world."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sandbox.actors.workloads.rolling import (
    Limits,
    ReplicaSetView,
    new_set_replicas,
    old_set_replicas,
    proportional,
)


def view(
    name: str, replicas: int, available: int = 0, created: str = "", max_replicas: int | None = None
) -> ReplicaSetView:
    return ReplicaSetView(name=name, created=created, replicas=replicas, available=available, max_replicas=max_replicas)


@pytest.mark.parametrize(
    ("replicas", "max_surge", "max_unavailable", "surge", "unavailable"),
    [
        (10, "25%", "25%", 3, 2),
        (3, "25%", "25%", 1, 0),
        (1, "25%", "25%", 1, 0),
        (50, "25%", "25%", 13, 12),
        (4, 0, 0, 0, 1),
        (3, 0, "25%", 0, 1),
        (2, 1, 5, 1, 2),
    ],
)
def test_surge_rounds_up_and_unavailable_rounds_down(
    replicas: int, max_surge: int | str, max_unavailable: int | str, surge: int, unavailable: int
) -> None:
    """Percentages of the size round up for surge and down for unavailable, and never come to a standstill."""
    assert Limits.of(replicas, max_surge, max_unavailable) == Limits(
        replicas=replicas, surge=surge, unavailable=unavailable
    )


def test_what_is_no_number_is_refused() -> None:
    """A limit that is neither a number nor a percentage is an error, not a zero."""
    with pytest.raises(ValueError, match="neither a number nor a percentage"):
        Limits.of(3, "many", 0)


def test_unhealthy_old_pods_go_first() -> None:
    """Old pods that are not available are taken down before any healthy one."""
    limits = Limits(replicas=3, surge=1, unavailable=0)
    old = [view("a", 1, 0, "2026-01-02"), view("b", 2, 2, "2026-01-01")]
    assert old_set_replicas(limits, view("new", 1, 1), old) == {"a": 0}


def test_a_broken_new_set_stops_the_rollout() -> None:
    """While the new pods do not get available no healthy old one is taken down beyond maxUnavailable."""
    limits = Limits.of(4, "25%", "25%")
    assert old_set_replicas(limits, view("new", 2, 0), [view("old", 3, 3)]) == {}
    assert new_set_replicas(limits, view("new", 2, 0), [view("old", 3, 3)]) == 2


@given(
    replicas=st.integers(1, 60),
    surge=st.sampled_from([0, 1, 2, "10%", "25%", "50%", "100%"]),
    unavailable=st.sampled_from([0, 1, 2, "10%", "25%", "50%", "100%"]),
    start=st.integers(0, 60),
)
def test_every_rollout_ends_within_its_fence_posts(
    replicas: int, surge: int | str, unavailable: int | str, start: int
) -> None:
    """A rollout in which pods do get available reaches its size, never above the surge, never below the minimum."""
    limits = Limits.of(replicas, surge, unavailable)
    old, new = min(start, replicas), 0
    for _ in range(10 * replicas + 10):
        new_next = new_set_replicas(limits, view("new", new, new), [view("old", old, old)])
        assert new_next + old <= max(limits.replicas + limits.surge, old + new)
        if new_next != new:
            new = new_next
            continue
        smaller = old_set_replicas(limits, view("new", new, new), [view("old", old, old)]).get("old", old)
        assert new + smaller >= min(limits.replicas - limits.unavailable, new + old)
        if smaller == old:
            break
        old = smaller
    assert (new, old) == (replicas, 0)


@given(sizes=st.lists(st.integers(0, 20), min_size=2, max_size=4), replicas=st.integers(0, 60))
def test_resizing_in_mid_rollout_comes_to_the_new_size(sizes: list[int], replicas: int) -> None:
    """A resize in mid-rollout spreads over all sets, to the new size plus surge, and makes no set negative."""
    limits = Limits.of(replicas, 1, 1) if replicas else Limits(replicas=0, surge=0, unavailable=0)
    sets = [view(str(i), n, n, str(i), max_replicas=max(1, sum(sizes))) for i, n in enumerate(sizes)]
    changed = proportional(limits, sets)
    after = [changed.get(s.name, s.replicas) for s in sets]
    assert all(n >= 0 for n in after)
    assert sum(after) == (replicas + limits.surge if replicas else 0)
