"""YAML read with the place of every key and value.

The library's own loader drops places, keeps the last of two equal keys in silence, turns ``22:00`` into 1320 and ``no``
into false, and expands aliases without an end. Here its event stream is read instead: places are kept, scalars follow
YAML 1.2's core schema, and depth and number of nodes are bounded before anything is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from .problems import Path, show

DEEPEST = 32
MOST_NODES = 100_000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?[0-9]{1,15}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?", re.ASCII)
_CORE: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}

Place = tuple[int, int]
"""Line and column, from 1."""


class Unreadable(Exception):
    """The text is no single YAML document within bounds; the rest of it was not looked at."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place, self.message = place, message


@dataclass
class Tree:
    """Plain data (dicts, tuples, scalars; tuples because the policy is frozen) and where each part of it stands."""

    data: Any = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    mistakes: list[tuple[Place, Path, str]] = field(default_factory=list)
    """What is wrong already without knowing what a policy is. Each is left out of ``data``."""

    def place(self, path: Path) -> Place:
        """Where the value at ``path`` stands, or the nearest part around it that exists."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))


@dataclass
class _Node:
    place: Place
    content: Any  # scalar, list of nodes, or list of (key node, value node)
    shape: str  # scalar | list | mapping


def read(text: str) -> Tree:
    """The one document in ``text``. Raises Unreadable where it is none; other mistakes are listed in the tree."""
    try:
        root = _Composer(_events(text)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise Unreadable(place, f"this is no valid YAML: {said}") from None
    except yaml.reader.ReaderError as error:
        raise Unreadable(_place_of(text, error.position), "this character is not allowed in YAML") from None
    tree = Tree()
    _Filler(tree).fill((), root)
    return tree


def _events(text: str) -> Iterator[Any]:
    for index, char in enumerate(text):  # the C parser says neither line nor column of these
        if (char < " " and char not in "\t\n\r") or char == "\x7f" or "\ud800" <= char <= "\udfff":
            raise Unreadable(_place_of(text, index), f"this character is not allowed in YAML: {char!r}")
    yield from yaml.parse(text, Loader=_LOADER)


def _place_of(text: str, index: int) -> Place:
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


class _Composer:
    """Events to nodes. Recursion is bounded by DEEPEST."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, _Node] = {}
        self._count = 0

    def document(self) -> _Node:
        event = next(self._events)
        while isinstance(event, yaml.StreamStartEvent):
            event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            raise Unreadable((1, 1), "the file is empty: expected a policy that begins with apiVersion and kind")
        root = self._node(next(self._events), 0)
        next(self._events)  # the document's end
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise Unreadable(_at(event), "expected one document; a second one begins here")
        return root

    def _node(self, event: Any, depth: int) -> _Node:
        place = _at(event)
        self._count += 1
        if self._count > MOST_NODES:
            raise Unreadable(place, f"expected at most {MOST_NODES} values")
        if depth > DEEPEST:
            raise Unreadable(place, f"expected at most {DEEPEST} levels of nesting")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise Unreadable(place, f"no complete value before this is marked &{event.anchor}")
            return self._anchors[event.anchor]
        if event.tag is not None and event.tag != "!":
            raise Unreadable(place, f"tags such as {show(event.tag)} have no meaning here; leave it out")
        if isinstance(event, yaml.ScalarEvent):
            node = _Node(place, _scalar(event), "scalar")
        elif isinstance(event, yaml.SequenceStartEvent):
            node = _Node(place, self._list(depth), "list")
        else:
            node = _Node(place, self._pairs(depth), "mapping")
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _list(self, depth: int) -> list[_Node]:
        nodes = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            nodes.append(self._node(event, depth + 1))
        return nodes

    def _pairs(self, depth: int) -> list[tuple[_Node, _Node]]:
        pairs = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            pairs.append((key, self._node(next(self._events), depth + 1)))
        return pairs


class _Filler:
    """Nodes to data; aliases are expanded here, so that the bound counts what they expand to."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._count = 0

    def fill(self, path: Path, node: _Node) -> None:
        self._tree.data = self._value(path, node)

    def _value(self, path: Path, node: _Node) -> Any:
        self._count += 1
        if self._count > MOST_NODES or len(path) > DEEPEST:
            raise Unreadable(node.place, "the aliases in this file expand to more than a policy can hold")
        self._tree.values[path] = node.place
        shapes: dict[str, Callable[[Path, Any], Any]] = {"list": self._list, "mapping": self._mapping}
        return shapes[node.shape](path, node.content) if node.shape in shapes else node.content

    def _list(self, path: Path, nodes: list[_Node]) -> tuple[Any, ...]:
        return tuple(self._value((*path, index), node) for index, node in enumerate(nodes))

    def _mapping(self, path: Path, pairs: list[tuple[_Node, _Node]]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, node in pairs:
            if key.shape != "scalar":
                self._wrong(key.place, path, f"expected a key; found a {key.shape}")
                continue
            name = key.content if isinstance(key.content, str) else _spelled(key.content)
            here = (*path, name)
            if here in self._tree.keys:
                line, column = self._tree.keys[here]
                self._wrong(key.place, here, f"given twice; the first is at line {line}, column {column}")
                continue
            self._tree.keys[here] = key.place
            if node.shape == "scalar" and node.content is None:
                self._tree.values[here] = node.place
                self._wrong(key.place, here, "has no value; give one, or leave the key out")
                continue
            data[name] = self._value(here, node)
        return data

    def _wrong(self, place: Place, path: Path, message: str) -> None:
        self._tree.mistakes.append((place, path, message))


def _at(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _scalar(event: yaml.ScalarEvent) -> str | int | float | bool | None:
    text: str = event.value
    if event.style or event.tag == "!":
        return text
    if text in _CORE:
        return _CORE[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and len(text) < 40:
        return float(text)
    return text


def _spelled(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else "null" if key is None else str(key)
