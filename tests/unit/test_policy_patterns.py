"""Regular expressions for logs: the useful ones are let in, the dangerous ones are not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.policy.patterns import complaint


@pytest.mark.parametrize(
    "pattern",
    [
        "MongoDB connected",
        "authentication failed",
        r"^\d{4}-\d{2}-\d{2} .*(connected|ready) to \w+$",
        r"(?:error|fatal): E[0-9]{1,5}",
        r"\[INFO\] (db )?up",
        "[^]]+ done",
        r"(ab){3}c",
        "{not a count}",
    ],
)
def test_ordinary_expressions_are_let_in(pattern: str) -> None:
    """What one writes to find a line of a log is accepted."""
    assert complaint(pattern) == ""


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "found empty text"),
        ("a" * 201, "at most 200 characters; found 201"),
        ("(", "does not parse"),
        ("a**", "does not parse"),
        ("[[a]b", "does not parse: Possible nested set"),
        ("(a+)+$", "a repeat of a group that itself repeats"),
        ("(a|aa)*b", "a repeat of a group that itself repeats or chooses"),
        ("((ab?)c)*", "a repeat of a group that itself repeats"),
        ("(x+){10}", "a repeat of a group that itself repeats"),
        ("(?:a{2,}){3,}", "a repeat of a group that itself repeats"),
        (r"(a)\1", "references back"),
        (r"(?P<x>a)", "only (?: is supported"),
        ("a(?=b)", "only (?: is supported"),
        ("(?i)a", "only (?: is supported"),
        (".*a.*b.*c.*d", "at most 3 repeats"),
        ("a++b", "possessive"),
        ("a*", "matches even an empty line"),
    ],
)
def test_dangerous_or_useless_expressions_are_refused(pattern: str, reason: str) -> None:
    """What can take exponential time, is not portable, or matches every line is refused with the reason."""
    assert reason in complaint(pattern)


@given(st.text("ab()[]|*+?{}1,^$.\\d:", max_size=20))
def test_any_text_gets_an_answer(pattern: str) -> None:
    """No pattern breaks the check, and what it lets in compiles and has no repeat inside a repeated group."""
    if complaint(pattern) == "":
        re.compile(pattern)
        assert not re.search(r"\([ab]+[*+]\)[*+]", re.sub(r"\\.|\[[^]]*\]", "", pattern))
