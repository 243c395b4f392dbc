"""What belongs to each of many names, of which nothing is kept once nothing belongs to it any more.

Names are for anybody to invent: pods may refer to Secrets that never were. An index that kept each name that it was
ever told would grow for as long as the agent runs.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from agent.model import ObjectKey

_K = TypeVar("_K")
_V = TypeVar("_V")


class Index(dict[_K, dict[ObjectKey, _V]], Generic[_K, _V]):
    """By name, what belongs to it, by key. Reading adds no name, as it would to a defaultdict."""

    def link(self, name: _K, key: ObjectKey, value: _V) -> None:
        """The object belongs to the name."""
        self.setdefault(name, {})[key] = value

    def unlink(self, name: _K, key: ObjectKey) -> None:
        """It does not, or no more; the name goes with the last that belonged to it."""
        there = self.get(name)
        if there is not None:
            there.pop(key, None)
            if not there:
                del self[name]
