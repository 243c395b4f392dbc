"""The order of the tests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.spread import spread


@given(st.lists(st.integers(1, 5), max_size=20), st.integers(0, 200), st.integers(1, 8))
def test_no_test_is_lost_or_played_twice_and_groups_stay_together(
    groups: list[int], others: int, processes: int
) -> None:
    """Whatever the numbers are."""
    items = iter(range(sum(groups) + others))
    long = [[next(items) for _ in range(size)] for size in groups]
    order = spread(long, list(items), processes)
    assert sorted(order) == list(range(sum(groups) + others))
    for group in long:
        began = order.index(group[0])
        assert order[began : began + len(group)] == group


def test_each_process_begins_with_its_share_of_the_long_ones() -> None:
    """Those that are short keep their order."""
    order = spread([["A"], ["B"], ["C"]], list("abcdefgh"), 2)
    assert order == ["A", "C", "a", "b", "c", "d", "B", "e", "f", "g", "h"]
