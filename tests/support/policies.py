"""Policies for scenarios: everything allowed, and as quick as the sandbox's own world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FAST: dict[str, Any] = {
    "apiVersion": "secret-drift-agent/v1",
    "kind": "HealPolicy",
    "mode": "heal",
    "interval": "300ms",
    "sync": {"steps": ["force-sync"]},
    "recycle": {"settle": "0s", "canary": {"readyWithin": "15s"}},
    "margins": {"vault": "1s", "node": "1s", "kubeletLag": "0s"},
    "timing": {
        "syncTimeout": "10s",
        "missingPersistence": "1s",
        "changedElsewhereCover": "2s",
        "changedElsewherePersistence": "500ms",
        "recreateBack": "10s",
        "subPathLag": "1s",
        "retryBackoff": "1s",
        "retryBackoffMax": "5s",
        "blastRadiusCalm": "2s",
    },
}
"""What differs from the defaults: times, since the sandbox's nodes and ESO need milliseconds."""


def heal_policy(
    *, namespaces: Sequence[str] = ("*",), vaults: Sequence[str] = ("prod-kv",), **overrides: Any
) -> dict[str, Any]:
    """A policy that heals these namespaces from these vaults, with one rule for syncs and one for recycles.

    ``overrides`` go over the sections by name, deeply: ``recycle={"settle": "5s"}``, ``limits={...}``,
    ``mode="observe"``. A list in place of a dict replaces the rules; None removes the section.
    """
    document = _over(FAST, {key: value for key, value in overrides.items() if value is not None})
    for rules in ("sync", "recycle"):
        if rules in overrides and overrides[rules] is None:
            document.pop(rules)
        elif isinstance(document[rules], dict):
            document[rules] = [{"namespaces": list(namespaces), **document[rules]}]
    if "vaults" not in overrides:
        rule = {"namespaces": list(namespaces), "requestsPerSecond": 400}
        document["vaults"] = [{"name": name, **rule} for name in vaults]
    return document


def _over(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        merged[key] = _over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
