"""What decoding gives back."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from agent.cluster.resources import RESOURCES
from agent.model import (
    Budget,
    ExternalSecret,
    Namespace,
    Node,
    ObjectKey,
    Pod,
    PushSource,
    ReplicaSet,
    SecretStore,
    SecretView,
    Workload,
)

DomainObject = (
    ExternalSecret | SecretStore | SecretView | Pod | Workload | ReplicaSet | Namespace | Node | Budget | PushSource
)


class BadAnswer(Exception):
    """The answer as a whole is not what was asked for: no JSON, no list, no event. Its text holds none of it."""


class Malformed(NamedTuple):
    """One object that could not be used. Names the object and the field, never a value."""

    resource: str  # plural
    key: ObjectKey | None  # None: not even its name could be read; cluster-wide objects have an empty namespace
    field: str  # spec.refreshInterval; empty: the object as a whole
    message: str

    @property
    def kind(self) -> str:
        """``Secret``, ``SecretStore``: as an operator calls it."""
        return RESOURCES[self.resource].kind

    @property
    def said(self) -> str:
        """Its name, and what is wrong with it."""
        name = "without a name" if self.key is None else str(self.key).removeprefix("/")
        return f"{name} cannot be used: {self.field + ': ' if self.field else ''}{self.message}"

    def __str__(self) -> str:
        name = "an object without a name" if self.key is None else str(self.key).removeprefix("/")
        return f"{self.resource} {name}: {self.field + ': ' if self.field else ''}{self.message}"


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list."""

    items: list[DomainObject]
    resource_version: str
    continue_token: str  # empty: the last page
    malformed: list[Malformed]
    remaining: int | None = None  # how many more there are, where the server says


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a watch."""

    type: str  # ADDED | MODIFIED | DELETED | BOOKMARK | ERROR
    object: DomainObject | None = None
    resource_version: str = ""
    malformed: Malformed | None = None
    code: int = 0  # of ERROR: the HTTP code in the Status (410: the resourceVersion is too old)
    reason: str = ""  # of ERROR
    initial_end: bool = False  # this BOOKMARK ends the initial events of a streamed list
