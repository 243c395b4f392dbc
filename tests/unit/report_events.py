"""Events for the tests of reports: every type there is, with arbitrary content and with ordinary content."""

from __future__ import annotations

import types
import typing
from enum import Enum
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st

from agent import events as ev
from agent.model import Finding, Kind, Link, ObjectKey, Refusal, SourceKey, Step, WorkloadKey

NOW = 1795471200.0  # 2026-11-23T22:00:00Z
CHAIN = ObjectKey("klinematrix-test", "app-secrets")
BACKEND = WorkloadKey("klinematrix-test", "Deployment", "backend")
SOURCE = SourceKey("klinematrix-test-kv.vault.azure.net", "mongodb-connection-string-test")

Struct = TypeVar("Struct", bound=msgspec.Struct)

HOSTILE = ("", "\n", "a\r\nb", "\x1b[2J\x1b[31m", "\u202eevil", "\u2028", "\ud800", "\x00", '"}{', "%s%d", "x" * 70_000)


def event_types() -> list[type[ev.Event]]:
    """Every type of event, however deep below the base."""
    found: list[type[ev.Event]] = []
    waiting = [ev.Event]
    while waiting:
        below = waiting.pop().__subclasses__()
        found += below
        waiting += below
    return sorted(found, key=lambda type_: type_.__name__)


def finding(**more: Any) -> Finding:
    """A stale chain, unless told otherwise."""
    usual: dict[str, Any] = {
        "chain": CHAIN, "link": Link.VAULT, "kind": Kind.STALE, "since": NOW - 200, "sources": (SOURCE,),
        "evidence": f"{SOURCE} has the version of 2026-11-23T21:56:40Z; ESO's last sync began 2026-11-23T21:12:00Z",
    }  # fmt: skip
    return Finding(**(usual | more))


def refusal(**more: Any) -> Refusal:
    """A recycle outside the window, unless told otherwise."""
    usual: dict[str, Any] = {
        "step": Step.RECYCLE, "reason": "outside-window", "detail": "outside the policy's windows",
        "until": NOW + 3600, "workload": BACKEND,
    }  # fmt: skip
    return Refusal(**(usual | more))


def found(**more: Any) -> ev.DriftFound:
    """That it was found, in cycle 7."""
    return ev.DriftFound(at=NOW, cycle=7, finding=finding(**more))


def gone(**more: Any) -> ev.DriftGone:
    """That it is no more."""
    return ev.DriftGone(at=NOW + 60, cycle=8, finding=finding(**more), lasted=260.0)


def any_event() -> st.SearchStrategy[ev.Event]:
    """Any event with any content, hostile strings among it."""
    return st.one_of([_any(type_) for type_ in event_types()])


def any_of(type_: type[Struct]) -> st.SearchStrategy[Struct]:
    """Any frozen type with any content."""
    return _any(type_)


_TEXT = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=()), max_size=40))
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: _TEXT,
    int: st.integers(-(2**63), 2**63),
    float: st.floats(),
    bool: st.booleans(),
    type(None): st.none(),
}


def _any(type_: Any) -> st.SearchStrategy[Any]:
    origin, args = typing.get_origin(type_), typing.get_args(type_)
    if type_ in _PLAIN:
        return _PLAIN[type_]
    if origin in (typing.Union, types.UnionType):
        return st.one_of([_any(arg) for arg in args])
    if origin is dict:
        return st.dictionaries(_any(args[0]), _any(args[1]), max_size=3)
    if origin is tuple and args[-1] is Ellipsis:
        return st.lists(_any(args[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*[_any(arg) for arg in args])
    if issubclass(type_, Enum):
        return st.sampled_from(type_)
    assert issubclass(type_, msgspec.Struct | tuple), type_
    hints = typing.get_type_hints(type_)
    fields = type_.__struct_fields__ if issubclass(type_, msgspec.Struct) else type_._fields
    return st.builds(type_, **{name: _any(hints[name]) for name in fields})
