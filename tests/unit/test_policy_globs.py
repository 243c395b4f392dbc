"""Namespace patterns: what fits, and which rules hide others."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.policy.globs import cover, matches

PATTERNS = st.text("ab*?", max_size=6)
NAMES = ["".join(letters) for size in range(7) for letters in product("abc", repeat=size)]


def as_regexp(pattern: str) -> re.Pattern[str]:
    """The same pattern in the words of the standard library."""
    return re.compile("".join({"*": ".*", "?": "."}.get(char, char) for char in pattern))


@given(PATTERNS, st.text("abc", max_size=8))
def test_patterns_mean_what_a_shell_means(pattern: str, name: str) -> None:
    """A star is any run of characters, a question mark is one, all else is itself."""
    assert matches(pattern, name) is (as_regexp(pattern).fullmatch(name) is not None)


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        (["*"], "legacy", True),
        (["*"], "a*", True),
        (["legacy"], "legacy", True),
        (["payments-*"], "payments-eu-*", True),
        (["payments-*"], "payments-??", True),
        (["payments-eu-*"], "payments-*", False),
        (["?*"], "*?", True),
        (["*a*"], "*a", True),
        (["*a"], "*a*", False),
        (["a*", "b*"], "?*", False),
        (["a", "b*"], "bc?", True),
        ([], "a", False),
        (["a*"] * 500, "b", False),
    ],
)
def test_a_broader_pattern_covers_a_narrower_one(earlier: list[str], later: str, expected: bool) -> None:
    """Coverage goes from broad to narrow and not back."""
    assert cover(earlier, later) is expected


@given(st.lists(PATTERNS, min_size=1, max_size=3), PATTERNS)
def test_coverage_is_exact(earlier: list[str], later: str) -> None:
    """A pattern counts as covered exactly if no name gets past the earlier ones to it."""
    fits, hidden = as_regexp(later), [as_regexp(each) for each in earlier]
    gets_past = any(fits.fullmatch(name) and not any(each.fullmatch(name) for each in hidden) for name in NAMES)
    if cover(earlier, later):
        assert not gets_past
    elif len(later) <= 3 and sum(map(len, earlier)) <= 5:
        assert gets_past  # short patterns differ, if at all, on a name of at most six letters


def test_patterns_made_to_be_slow_are_not() -> None:
    """Many stars against a name that almost fits end at once, in matching and in comparing."""
    assert not matches("*a" * 30, "a" * 29 + "b")
    assert cover(["*a*"], "*a" * 30)
    assert not cover(["*ab" * 20], "*a?" * 20)
