"""The rights that the agent's manifests give it, those a world needs, and how both compare with what was asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from agent.sandbox.apiserver.audit import AuditEntry
from agent.sandbox.world import AGENT_NAMESPACE

K8S = Path(__file__).parents[2] / "k8s"
COMPONENTS = {
    "base": (K8S / "base" / "ledger.yaml",),
    "observe": (K8S / "components/observe/rights.yaml", K8S / "components/observe/cluster/rights.yaml"),
    "heal": (K8S / "components/heal/rights.yaml",),
    "restart": (K8S / "components/restart/rights.yaml",),
    "recreate": (K8S / "components/recreate/rights.yaml",),
}
"""Each part of the manifests that gives rights, and where they stand."""
ALWAYS = frozenset({"base", "observe"})
"""Installed in any case, and alone where the policy observes."""
MODES = {"observe": ALWAYS, "heal": frozenset(COMPONENTS)}
"""Mode of a policy -> the components that are for it; ``recreate`` is installed where the policy names that step."""
_JUST_STARTED = "an API server that has just started knows no rights yet"
ON_PURPOSE = {
    "test_s30_wherever_the_api_server_is_killed": _JUST_STARTED,
    "test_s30_the_api_server_is_away": _JUST_STARTED,
    "test_s30_a_renewed_certificate": _JUST_STARTED,
    "test_s30_what_happened_while_the_way_was_closed": _JUST_STARTED,
    "test_s44_so_it_is_where_a_real_api_server": _JUST_STARTED,
}
"""Beginnings of tests in which requests are refused -> why that is no right that the agent lacks."""
_FORBIDDEN = 403
_WRITES = {"create", "update", "patch", "delete", "deletecollection"}
_ASKS_ABOUT_ITSELF = "authorization.k8s.io"


class Rule(NamedTuple):
    """One verb on one resource, as RBAC grants it."""

    verb: str
    group: str
    resource: str
    """With its subresource: ``pods/eviction``."""
    name: str = ""
    at_home: bool = False
    """In the agent's own namespace only."""

    def covers(self, asked: Asked) -> bool:
        """Whether RBAC allows the request by this rule."""
        same = (self.verb, self.group, self.resource) == (asked.verb, asked.group, asked.resource)
        return same and self.name in ("", asked.name) and (not self.at_home or asked.namespace == AGENT_NAMESPACE)

    def __str__(self) -> str:
        group = f".{self.group}" if self.group else ""
        return f"{self.verb} {self.resource}{group}{f'/{self.name}' if self.name else ''}"


class Asked(NamedTuple):
    """What a request was for, and what came of it."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    code: int

    @property
    def place(self) -> str:
        """``namespace/name``, as far as there is one."""
        return f"{self.namespace}/{self.name}".strip("/")

    @property
    def is_foreign_write(self) -> bool:
        """Whether it changes anything but ledger, Lease and Events."""
        own = self.namespace == AGENT_NAMESPACE and self.resource in ("configmaps", "secrets", "leases")
        return self.verb in _WRITES and not own and self.resource != "events" and self.group != _ASKS_ABOUT_ITSELF


def rules(component: str) -> set[Rule]:
    """What a part of the manifests grants."""
    return {rule for path in COMPONENTS[component] for rule in _rules(path)}


def _rules(path: Path) -> Iterator[Rule]:
    for document in yaml.safe_load_all(path.read_text()):
        for each in document.get("rules", ()):
            for group in each["apiGroups"]:
                for resource in each["resources"]:
                    for name in each.get("resourceNames", [""]):
                        for verb in each["verbs"]:
                            yield Rule(verb, group, resource, name, document["kind"] == "Role")


def needed(policy: str) -> frozenset[str]:
    """The components to install for a policy: what its mode and its steps take."""
    try:
        document = yaml.safe_load(policy)
    except yaml.YAMLError:
        return ALWAYS
    if not isinstance(document, dict) or document.get("mode") != "heal":
        return ALWAYS
    steps = {step for rule in document.get("sync") or () for step in rule.get("steps") or ()}
    return MODES["heal"] if "recreate" in steps else MODES["heal"] - {"recreate"}


def asked(entries: Iterable[AuditEntry]) -> set[Asked]:
    """Each kind of request of an audit log, once."""
    return {_of(entry) for entry in entries if entry.resource}


def _of(entry: AuditEntry) -> Asked:
    resource = f"{entry.resource}/{entry.subresource}" if entry.subresource else entry.resource
    return Asked(entry.verb, entry.group, resource, entry.namespace or "", entry.name, entry.code)


@dataclass(frozen=True)
class World:
    """What one test's agent could do, and what it asked for; as plain as a report between processes must be."""

    test: str
    installed: frozenset[str]
    asked: frozenset[Asked]

    def plain(self) -> list[Any]:
        """For ``read``."""
        return [self.test, sorted(self.installed), [list(each) for each in sorted(self.asked)]]

    @classmethod
    def read(cls, plain: list[Any]) -> World:
        """What ``plain`` has made of it."""
        test, installed, requests = plain
        return cls(test, frozenset(installed), frozenset(Asked(*each) for each in requests))


@dataclass(frozen=True)
class Judgement:
    """The table for a person, and what is wrong, a line each."""

    table: list[str]
    wrong: list[str]


def judge(worlds: Iterable[World], *, whole: bool) -> Judgement:
    """Compare what was asked for with what was granted, mode by mode.

    ``whole``: all scenarios were run, so that a rule that no request needed is one too many.
    """
    by_mode: dict[str, list[World]] = defaultdict(list)
    for world in worlds:
        by_mode["observe" if world.installed == ALWAYS else "heal"].append(world)
    table, wrong = [f"{'':32}{'worlds':>8}{'rules':>8}{'used':>8}{'refused':>9}"], []
    for mode, parts in MODES.items():
        found = by_mode[mode]
        refused = list(_refused(found))
        table.append(f"{f'mode {mode}':32}{len(found):>8}{'':16}{len(refused):>9}")
        wrong += [f"mode {mode}: {line}" for line in refused]
        if mode == "observe":
            wrong += [f"mode {mode}: {line}" for line in _writes(found)]
        for part in (name for name in COMPONENTS if name in parts):
            having = [world for world in found if part in world.installed]
            requests = {each for world in having for each in world.asked if each.code != _FORBIDDEN}
            if part != "base":  # what the agent may do at home in any case needs no right everywhere
                requests = {each for each in requests if not any(rule.covers(each) for rule in rules("base"))}
            granted = rules(part)
            unused = sorted(rule for rule in granted if not any(map(rule.covers, requests)))
            table.append(f"  {part:30}{len(having):>8}{len(granted):>8}{len(granted) - len(unused):>8}")
            if whole:
                wrong += [f"mode {mode}: {part} grants what nothing asks for: {rule}" for rule in unused]
    if not whole:
        table.append("Whether each rule is used is judged where all scenarios are run.")
    return Judgement(table, wrong)


def _refused(worlds: Iterable[World]) -> Iterator[str]:
    for world in worlds:
        if world.test.startswith(tuple(ON_PURPOSE)):
            continue
        for each in sorted(world.asked):
            if each.code == _FORBIDDEN:
                yield f"{world.test}: refused: {each.verb} {each.resource} {each.place}".rstrip()


def _writes(worlds: Iterable[World]) -> Iterator[str]:
    for world in worlds:
        for each in sorted(world.asked):
            if each.is_foreign_write and each.code < 400:
                yield f"{world.test}: written: {each.verb} {each.resource} {each.place}"
