"""Labels and what selects by them, as the API server would. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

import msgspec


class Labels(tuple[str, ...]):
    """An object's labels: name, value, name, value. A third of a dict, and there are some for each app and Secret."""

    __slots__ = ()

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Labels:
        """From a dict."""
        return cls(chain.from_iterable(labels.items()))

    def get(self, name: str) -> str | None:
        """The value of a label; None: there is none."""
        for place in range(0, len(self), 2):
            if self[place] == name:
                return self[place + 1]
        return None


NO_LABELS = Labels()


class Selector(msgspec.Struct, frozen=True):
    """A label selector. An empty one matches everything; where none is given, None stands and matches nothing."""

    labels: tuple[tuple[str, str], ...] = ()
    expressions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()  # key, In | NotIn | Exists | DoesNotExist, values

    def matches(self, labels: Labels) -> bool:
        """As the API server would answer. An unknown operator matches nothing."""
        there = dict(zip(labels[::2], labels[1::2], strict=True))  # both sides may have as many as a tenant likes
        return all(there.get(key) == value for key, value in self.labels) and all(
            _fits(there.get(key), operator, values) for key, operator, values in self.expressions
        )


def _fits(value: str | None, operator: str, values: tuple[str, ...]) -> bool:
    match operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:
            return False
