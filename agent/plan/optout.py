"""Opt-outs of owners: the strictest source wins, and no tenant can raise what the policy allows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

MODE = "secret-drift-agent/mode"
"""Annotation on an ExternalSecret, workload or namespace: ``ignore`` or ``observe``. Anything else changes nothing."""

STRICT = frozenset({"ignore", "observe"})


def opted_out(sources: Iterable[tuple[str, str]]) -> str:
    """Why an owner does not want this healed; empty: nobody objects. ``sources``: (who, the annotation's value)."""
    for who, mode in sources:
        if mode in STRICT:
            return f"{who} carries {MODE}: {mode}"
    return ""


def mode_of(annotations: Mapping[str, str]) -> str:
    """The annotation's value, empty if absent."""
    return annotations.get(MODE, "")
