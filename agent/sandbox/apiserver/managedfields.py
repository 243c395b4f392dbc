"""Who wrote which field: ``metadata.managedFields`` as the API server keeps them.

The rules are those of structured-merge-diff: a writer gains the fields it adds or changes, loses none it leaves alone,
and its time moves only when it gained something; fields taken by another, or removed, leave their former owner without
moving that owner's time. Writing a value that is already there gains nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from agent.sandbox.apiserver.fieldpaths import Path, Paths, compare, leaves
from agent.sandbox.apiserver.kinds import Kind

Object = dict[str, Any]


@dataclass(frozen=True)
class Manager:
    """The identity of an entry: the same writer through another API version or subresource is another entry."""

    name: str
    operation: Literal["Update", "Apply"]
    api_version: str
    subresource: str = ""


@dataclass(frozen=True)
class Entry:
    """The fields of one manager, and when (RFC 3339, whole seconds) it last gained one."""

    manager: Manager
    time: str
    paths: Paths = field(default_factory=frozenset)


class FieldConflicts(Exception):
    """A server-side apply would take fields from others: pairs of manager and path, as the API server prints them."""

    def __init__(self, conflicts: list[tuple[Manager, str]]) -> None:
        self.conflicts = conflicts
        super().__init__(f"{len(conflicts)} fields belong to other managers")


def _paths(tree: Mapping[str, Any], prefix: Path = ()) -> Iterator[Path]:
    for part, below in tree.items():
        if part == ".":
            yield prefix
        elif below:
            yield from _paths(below, (*prefix, part))
        else:
            yield (*prefix, part)


def _tree(paths: Paths) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        node = tree
        for depth, part in enumerate(path[:-1], start=1):
            node = node.setdefault(part, {})
            if not node and path[:depth] in paths:
                node["."] = {}
        node.setdefault(path[-1], {})
    return tree


def decode(metadata: Mapping[str, Any]) -> dict[Manager, Entry]:
    """The entries of an object's metadata; entries without fields are dropped."""
    entries = {}
    for raw in metadata.get("managedFields") or ():
        manager = Manager(
            raw.get("manager", ""), raw["operation"], raw.get("apiVersion", ""), raw.get("subresource", "")
        )
        paths = frozenset(_paths(raw.get("fieldsV1") or {}))
        if paths:
            entries[manager] = Entry(manager, raw.get("time", ""), paths)
    return entries


def encode(entries: Iterable[Entry]) -> list[Object]:
    """Entries as the API server orders and prints them: Apply before Update, then by time, then by name."""
    ordered = sorted(
        (entry for entry in entries if entry.paths),
        key=lambda e: (e.manager.operation, e.time, e.manager.name, e.manager.api_version, e.manager.subresource),
    )
    return [_encoded(entry) for entry in ordered]


def _encoded(entry: Entry) -> Object:
    manager = entry.manager
    encoded: Object = {
        "manager": manager.name, "operation": manager.operation, "apiVersion": manager.api_version, "time": entry.time,
        "fieldsType": "FieldsV1", "fieldsV1": _tree(entry.paths),
    }  # fmt: skip
    return {**encoded, "subresource": manager.subresource} if manager.subresource else encoded


def _without(entries: dict[Manager, Entry], lost: Paths, *, spare: Manager | None = None) -> dict[Manager, Entry]:
    return {
        manager: entry if manager == spare else replace(entry, paths=entry.paths - lost)
        for manager, entry in entries.items()
    }


def after_update(kind: Kind, old: Object | None, new: Object, writer: Manager, now: str) -> list[Object]:
    """The managedFields of ``new`` after ``writer`` made it out of ``old`` (None: created) at ``now``."""
    difference = compare(kind, old, new)
    gained = difference.added | difference.modified
    entries = _without(decode((old or {}).get("metadata", {})), gained | difference.removed)
    if gained:
        mine = entries.get(writer, Entry(writer, now))
        entries[writer] = Entry(writer, now, mine.paths | gained)
    return encode(entries.values())


def after_apply(
    kind: Kind, old: Object | None, new: Object, config: Object, writer: Manager, now: str, *, force: bool
) -> list[Object]:
    """The managedFields of ``new`` after ``writer`` applied ``config``. Raises FieldConflicts unless ``force``."""
    entries = decode((old or {}).get("metadata", {}))
    difference = compare(kind, old, new)
    changed = difference.added | difference.modified
    conflicts = [
        (manager, printed(path))
        for manager, entry in entries.items()
        if manager != writer
        for path in sorted(entry.paths & changed)
    ]
    if conflicts and not force:
        raise FieldConflicts(conflicts)
    moved = bool(changed or difference.removed)
    before = entries.get(writer)
    entries = _without(entries, changed | difference.removed, spare=writer)
    entries[writer] = Entry(writer, now if moved or before is None else before.time, leaves(kind, config))
    return encode(entries.values())


def given_up(kind: Kind, old: Object, config: Object, writer: Manager) -> Paths:
    """The fields that ``writer`` applied before, applies no longer and nobody else owns: an apply removes them."""
    entries = decode(old.get("metadata", {}))
    if writer not in entries:
        return frozenset()
    others = frozenset[Path]().union(*(entry.paths for manager, entry in entries.items() if manager != writer))
    return entries[writer].paths - leaves(kind, config) - others


def printed(path: Path) -> str:
    """``.metadata.labels.team``: a path as conflict messages show it."""
    return "".join(f".{part[2:]}" if part.startswith("f:") else f"[{part[2:]}]" for part in path)
