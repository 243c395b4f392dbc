"""What ``doctor`` says: lines. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

State = Literal["ok", "note", "warning", "error", "not-checked"]
"""note: worth knowing; warning: the work goes on, with less; error: something is to be done before it can."""

Area = Literal["API server", "policy", "rights", "ledger", "ESO", "vaults"]


class Permission(NamedTuple):
    """A right as RBAC knows it. ``namespace`` None: in all namespaces, or of a kind that is in none."""

    verb: str
    group: str
    resource: str  # with a subresource: pods/eviction
    namespace: str | None = None

    @property
    def kubectl(self) -> str:
        """The resource as kubectl takes it: ``externalsecrets.external-secrets.io``, ``pods/eviction``."""
        plural, slash, subresource = self.resource.partition("/")
        return f"{plural}.{self.group}{slash}{subresource}" if self.group else self.resource


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    area: Area
    name: str
    state: State
    said: str
    todo: str = ""  # in words
    commands: tuple[str, ...] = ()  # for a shell, to be copied as they are
    permissions: tuple[tuple[Permission, bool], ...] = ()  # each that was asked for, and whether it is there


def exit_code(lines: list[Line]) -> int:
    """0: nothing is to be done; 2: something is."""
    return 2 if any(line.state == "error" for line in lines) else 0
