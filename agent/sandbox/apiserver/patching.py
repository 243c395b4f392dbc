"""JSON merge patch (RFC 7386), and the merge of server-side apply."""

from __future__ import annotations

from typing import Any

from agent.sandbox.apiserver.fieldpaths import list_keys
from agent.sandbox.apiserver.kinds import Kind


def merge_patch(target: Any, patch: Any) -> Any:
    """``target`` with ``patch`` merged in: members of null are removed, lists are replaced whole."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def without_nulls(value: Any) -> Any:
    """An object without members of null, which typed decoding drops."""
    if isinstance(value, dict):
        return {key: without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [without_nulls(member) for member in value]
    return value


def apply_merge(kind: Kind, live: Any, config: Any, path: tuple[str, ...] = ()) -> Any:
    """``live`` with an applied configuration merged in: maps by member, keyed lists by key, the rest replaced."""
    if isinstance(live, dict) and isinstance(config, dict):
        merged = dict(live)
        for key, value in config.items():
            merged[key] = apply_merge(kind, live.get(key), value, (*path, f"f:{key}"))
        return merged
    if isinstance(live, list) and isinstance(config, list):
        if path == ("f:metadata", "f:finalizers"):
            return live + [item for item in config if item not in live]
        if keys := list_keys(kind, path):
            return _merge_keyed(kind, live, config, keys, path)
    return config


def _merge_keyed(
    kind: Kind, live: list[Any], config: list[Any], keys: tuple[str, ...], path: tuple[str, ...]
) -> list[Any]:
    def key_of(item: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(item.get(key) for key in keys)

    wanted = {key_of(item): item for item in config}
    merged = [apply_merge(kind, item, wanted[key_of(item)], path) if key_of(item) in wanted else item for item in live]
    there = {key_of(item) for item in live}
    return merged + [item for key, item in wanted.items() if key not in there]
