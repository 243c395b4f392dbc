"""The documented example, written from the fields' own descriptions and defaults.

``python -m agent.policy.example > agent/policy/example.yaml`` after any change of a field; a test compares the two.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from .fields import Section
from .numbers import Limits
from .policy import Pause, Policy
from .rules import Canary, LogCanary, RecycleRule, SyncRule, VaultRule, Window

SAMPLE = Policy(
    mode="heal",
    vaults=(VaultRule(name="prod-kv", namespaces=("payments-*", "legacy")),),
    sync=(
        SyncRule(namespaces=("legacy",), steps=("force-sync", "recreate")),
        SyncRule(namespaces=("*",), steps=("force-sync",)),
    ),
    recycle=(
        RecycleRule(
            namespaces=("payments-*",),
            windows=(
                Window(days=("Mon", "Tue", "Wed", "Thu"), opens="22:00", closes="04:00", time_zone="Europe/Berlin"),
            ),
            canary=Canary(log=LogCanary(success="MongoDB connected", failure="authentication failed")),
        ),
    ),
    limits=Limits(workloads_at_once_per_namespace=2),
    pause=Pause(reason="migration", until=1_796_083_200.0),
)
"""What the example shows. All that is not a rule has its default, but for what OFF names."""

OFF = frozenset({"pause", "workloadsAtOncePerNamespace"})
"""Absent by default: shown as comments."""

_HEAD = """\
# A policy with every field. Each has the value it has when it is left out, but for the rules and what is commented out.
"""


def example() -> str:
    """The text of the example."""
    return _HEAD + "".join(f"{line}\n" for line in _section(SAMPLE, explain=True))


def _section(section: Section, *, explain: bool) -> Iterator[str]:
    values = section.model_dump(mode="json", by_alias=True)
    for name, info in type(section).model_fields.items():
        key, value = info.alias or name, getattr(section, name)
        if isinstance(section, Policy) and key != "kind":
            yield ""
        if explain:
            limits = _values(info.annotation)
            yield from textwrap.wrap(f"{info.description}{limits}", 116, initial_indent="# ", subsequent_indent="# ")
        lines = list(_entry(key, value, values[key], explain=explain))
        yield from (f"# {line}" for line in lines) if key in OFF else lines


def _entry(key: str, value: Any, plain: Any, *, explain: bool) -> Iterator[str]:
    if isinstance(value, Section):
        yield f"{key}:"
        yield from _indented(_section(value, explain=explain and key not in OFF))
    elif isinstance(value, tuple) and value and isinstance(value[0], Section):
        yield f"{key}:"
        for index, rule in enumerate(value):
            lines = list(_section(rule, explain=explain and index == 0))
            yield from _item(lines)
    else:
        yield f"{key}: {_inline(plain)}"


def _item(lines: list[str]) -> Iterator[str]:
    """A list's entry; the comment on its first key goes before the dash."""
    first = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    yield from _indented(iter(lines[:first]))
    yield f"  - {lines[first]}"
    yield from (f"    {line}" for line in lines[first + 1 :])


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"  {line}" if line else "" for line in lines)


def _inline(plain: Any) -> str:
    if isinstance(plain, list):
        return f"[{', '.join(_inline(each) for each in plain)}]"
    simple = isinstance(plain, str) and plain.replace("-", "").replace("/", "").replace(".", "").isalnum()
    return plain if simple else json.dumps(plain)


def _values(annotation: Any) -> str:
    args = getattr(annotation, "__args__", ())
    return f" One of: {', '.join(args)}." if len(args) > 1 and all(isinstance(each, str) for each in args) else ""


if __name__ == "__main__":
    sys.stdout.write(example())
