"""The order of the tests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.spread import spread


@given(st.integers(0, 40), st.integers(0, 200), st.integers(1, 8))
def test_no_test_is_lost_or_played_twice(long: int, others: int, processes: int) -> None:
    """Whatever the numbers are."""
    items = list(range(long + others))
    assert sorted(spread(items[:long], items[long:], processes)) == items


def test_each_process_begins_with_its_share_of_the_long_ones() -> None:
    """Those that are short keep their order."""
    order = spread(["A", "B", "C"], list("abcdefgh"), 2)
    assert order == ["A", "C", "a", "b", "c", "d", "B", "e", "f", "g", "h"]
