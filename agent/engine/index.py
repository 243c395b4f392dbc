"""What belongs to each of many names, of which nothing is kept once nothing belongs to it any more.

Names are for anybody to invent: pods may refer to Secrets that never were. An index that kept each name that it was
ever told would grow for as long as the agent runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Generic, TypeVar

from agent.model import ObjectKey

_K = TypeVar("_K")

FEW = 8
"""Members that are kept as a tuple: most names have one or five, and a dict of five is three times the size."""


class Index(Generic[_K]):
    """By name, the keys of what belongs to it, in the order in which it came."""

    __slots__ = ("_members",)

    def __init__(self) -> None:
        self._members: dict[_K, tuple[ObjectKey, ...] | dict[ObjectKey, None]] = {}

    def link(self, name: _K, key: ObjectKey) -> None:
        """The object belongs to the name."""
        there = self._members.get(name)
        if there is None:
            self._members[name] = (key,)
        elif isinstance(there, dict):
            there[key] = None
        elif key not in there:
            more = (*there, key)
            self._members[name] = more if len(more) <= FEW else dict.fromkeys(more)

    def unlink(self, name: _K, key: ObjectKey) -> None:
        """It does not, or no more; the name goes with the last that belonged to it."""
        there = self._members.get(name)
        if isinstance(there, tuple):
            there = self._members[name] = tuple(one for one in there if one != key)
        elif there is not None:
            there.pop(key, None)
        if there is not None and not there:
            del self._members[name]

    def of(self, name: _K) -> Collection[ObjectKey]:
        """What belongs to the name now. Not to be gone through while it is linked to."""
        return self._members.get(name, ())

    def __contains__(self, name: _K) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[_K]:
        """The names."""
        return iter(self._members)
