"""Paths of fields, and what differs between two objects, in the terms of managedFields.

The API server knows from each type's schema which lists are sets or are keyed by a member, and which maps are one unit
("atomic"). Here this knowledge is a table of names, for the built-in kinds; custom resources without list annotations
have atomic lists, as ESO's have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent.sandbox.apiserver.kinds import Kind

Path = tuple[str, ...]
Paths = frozenset[Path]

_MISSING: Any = object()

_UNOWNED = frozenset(
    {"name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion"}
)
_LIST_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",), "initContainers": ("name",), "ephemeralContainers": ("name",), "env": ("name",),
    "volumes": ("name",), "imagePullSecrets": ("name",), "volumeMounts": ("mountPath",), "conditions": ("type",),
    "podIPs": ("ip",), "hostIPs": ("ip",), "secrets": ("name",), "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"), "addresses": ("type",),
}  # fmt: skip
_METADATA_LIST_KEYS = {"ownerReferences": ("uid",)}
_ATOMIC_MAPS = frozenset(
    {
        "selector", "nodeSelector", "secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef", "secretRef",
        "configMapRef", "labelSelector", "scaleTargetRef", "involvedObject", "claimRef",
    }
)  # fmt: skip
# Members that are no pointers in the API's types: they exist, empty, before anybody writes them, so nobody owns them.
_ALWAYS_THERE = frozenset(
    {"spec", "status", "template", "metadata", "strategy", "updateStrategy", "jobTemplate", "containers"}
)


@dataclass(frozen=True)
class Difference:
    """The paths that a change added, gave another value, and removed."""

    added: Paths
    modified: Paths
    removed: Paths


def list_keys(kind: Kind, path: Path) -> tuple[str, ...] | None:
    """The members that key a list at ``path``; None for a list that is one unit."""
    name = path[-1][2:] if path else ""
    if path[:1] == ("f:metadata",):
        return _METADATA_LIST_KEYS.get(name)
    if kind.custom:
        return None
    if name == "ports":
        return ("port", "protocol") if kind.kind == "Service" else ("containerPort", "protocol")
    return _LIST_KEYS.get(name)


def _children(kind: Kind, path: Path, value: Any) -> dict[str, Any] | None:
    """The members of a value that are owned one by one, by path element; None for a leaf."""
    name = path[-1][2:] if path else ""
    if isinstance(value, dict):
        if not kind.custom and name in _ATOMIC_MAPS and path[0] != "f:metadata":
            return None
        return {f"f:{key}": member for key, member in value.items()} or None
    if isinstance(value, list) and value:
        if path == ("f:metadata", "f:finalizers"):
            return {f"v:{json.dumps(item)}": _MISSING for item in value}
        keys = list_keys(kind, path)
        if keys and all(isinstance(item, dict) for item in value):
            return {_item(keys, item): item for item in value}
    return None


def _item(keys: tuple[str, ...], item: dict[str, Any]) -> str:
    defaults = {"protocol": "TCP"}
    named = {key: item.get(key, defaults.get(key)) for key in keys}
    return "k:" + json.dumps(named, separators=(",", ":"), sort_keys=True)


def _owned(kind: Kind, path: Path) -> bool:
    """Whether a map or list that appears is itself a field (the ``.`` of fieldsV1)."""
    name = path[-1]
    return bool(path) and not (name[2:] in _ALWAYS_THERE and (not kind.custom or path == ("f:metadata",)))


def _everything(kind: Kind, path: Path, value: Any) -> Iterator[Path]:
    children = _children(kind, path, value)
    if path and (_owned(kind, path) or (children is None and value != {} and value != [])):
        yield path
    for part, member in (children or {}).items():
        yield from _everything(kind, (*path, part), member)


def _walk(kind: Kind, path: Path, old: Any, new: Any) -> Iterator[tuple[str, Path]]:
    before, after = _children(kind, path, old), _children(kind, path, new)
    if before is None and after is None:
        if old != new:
            yield "modified", path
        return
    if (before is None and old not in ({}, [])) or (after is None and new not in ({}, [])):
        yield "modified", path
        return
    before, after = before or {}, after or {}
    for part in before.keys() | after.keys():
        below = (*path, part)
        if part not in before:
            yield from (("added", added) for added in _everything(kind, below, after[part]))
        elif part not in after:
            yield from (("removed", removed) for removed in _everything(kind, below, before[part]))
        elif before[part] is not _MISSING:
            yield from _walk(kind, below, before[part], after[part])


def _bare(obj: dict[str, Any] | None) -> dict[str, Any]:
    """An object without the fields that nobody owns."""
    if obj is None:
        return {}
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key not in _UNOWNED}
    return {**{key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}, "metadata": metadata}


def compare(kind: Kind, old: dict[str, Any] | None, new: dict[str, Any]) -> Difference:
    """What a write changed; ``old`` is None for a create."""
    found: dict[str, set[Path]] = {"added": set(), "modified": set(), "removed": set()}
    for what, path in _walk(kind, (), _bare(old), _bare(new)):
        found[what].add(path)
    return Difference(frozenset(found["added"]), frozenset(found["modified"]), frozenset(found["removed"]))


def leaves(kind: Kind, config: dict[str, Any]) -> Paths:
    """The fields of an applied configuration: its leaves and list items, not the maps around them."""

    def below(path: Path, value: Any) -> Iterator[Path]:
        children = _children(kind, path, value)
        if path and path != ("f:metadata",) and (children is None or path[-1][:2] == "k:"):
            yield path
        for part, member in (children or {}).items():
            yield from below((*path, part), member)

    return frozenset(below((), _bare(config)))


def without(kind: Kind, value: Any, gone: Paths, path: Path = ()) -> Any:
    """A value less the fields in ``gone``; maps that become empty go too."""
    if isinstance(value, dict) and _children(kind, path, value) is not None:
        kept = {}
        for key, member in value.items():
            below = (*path, f"f:{key}")
            if below in gone:
                continue
            rest = without(kind, member, gone, below)
            if rest != {} or member == {}:
                kept[key] = rest
        return kept
    keys = list_keys(kind, path) if isinstance(value, list) and path else None
    if keys:
        return [without(kind, i, gone, (*path, _item(keys, i))) for i in value if (*path, _item(keys, i)) not in gone]
    return value
