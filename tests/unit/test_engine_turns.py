"""Whose turn it is, where each workload takes its time."""

from __future__ import annotations

from collections.abc import Callable

from agent.engine.turns import LONGEST, Turns
from agent.model import WorkloadKey

DUE = [WorkloadKey("shop", "Deployment", name) for name in "abcdefg"]


def passes(takes: float, *, stopped: Callable[[int], bool] = lambda _: False) -> list[str]:
    """The turns of four passes in which all are due, where each turn takes so many seconds."""
    now, told = 0.0, 0
    found: list[str] = []

    def consider(key: WorkloadKey) -> None:
        nonlocal now, told
        now, told = now + takes, told + 1
        found[-1] += key.name

    turns = Turns(lambda: now)
    for _ in range(4):
        found.append("")
        left = turns.take(reversed(DUE), consider, lambda: stopped(told))
        assert sorted(found[-1] + "".join(key.name for key in left)) == list("abcdefg")
    return found


def test_all_have_their_turn_in_order_where_there_is_time() -> None:
    """A pass of an ordinary day is cut short for nobody."""
    assert passes(0.0) == ["abcdefg"] * 4


def test_who_was_left_comes_first_in_the_next_pass_so_that_nobody_waits_for_ever() -> None:
    """Also where those before are due again each time; a single turn is taken however long it takes."""
    assert passes(LONGEST / 2) == ["ab", "cd", "ef", "ga"]
    assert passes(LONGEST * 2) == ["a", "b", "c", "d"]


def test_nobody_has_a_turn_once_it_is_to_end() -> None:
    """The turn in hand is finished, and no other begun."""
    assert passes(0.0, stopped=lambda told: told >= 3) == ["abc", "", "", ""]
