"""Opt-outs of owners: the strictest source wins, and no tenant can raise what the policy allows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent.model import MODE, OFF_LIMITS

STRICT = frozenset({"ignore", "observe"})
"""Values of the annotation MODE that mean something, in any case and between spaces; any other changes nothing."""
NOT_READ = "?"
"""In place of a mode: the object that may carry it could not be read, so its owner may object."""


def opted_out(sources: Iterable[tuple[str, str]]) -> str:
    """Why an owner does not want this healed; empty: nobody objects. ``sources``: (who, the annotation's value)."""
    for who, mode in sources:
        if mode == NOT_READ:
            return f"{who} could not be read: whether its owner objects is not known"
        if mode == OFF_LIMITS:
            return f"{who} carries the label {OFF_LIMITS}"
        if (word := mode.strip().lower()) in STRICT:
            return f"{who} carries {MODE}: {word}"
    return ""


def mode_of(annotations: Mapping[str, str]) -> str:
    """The annotation's value, empty if absent."""
    return annotations.get(MODE, "")
