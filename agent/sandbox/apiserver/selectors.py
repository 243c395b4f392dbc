"""Label and field selectors: the text a client sends, as a predicate over stored objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.sandbox.apiserver.kinds import Kind
from agent.sandbox.apiserver.status import bad_request
from agent.sandbox.apiserver.store import Stored

Labels = Mapping[str, str]

_SET = re.compile(r"^(?P<key>\S+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUALS = re.compile(r"^(?P<key>[^\s=!]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s=!]*)$")
_EXISTS = re.compile(r"^(?P<not>!?)\s*(?P<key>[^\s=!()<>,]+)$")
_COMMA = re.compile(r",(?![^()]*\))")


@dataclass(frozen=True)
class Requirement:
    """One term of a label selector: ``op`` is in, notin, exists or absent."""

    key: str
    op: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: Labels) -> bool:
        """Whether labels satisfy the term; a missing key satisfies ``notin``, as in Kubernetes."""
        if self.op == "exists":
            return self.key in labels
        if self.op == "absent":
            return self.key not in labels
        inside = self.key in labels and labels[self.key] in self.values
        return inside if self.op == "in" else not inside


def _requirement(term: str) -> Requirement:
    if found := _SET.match(term):
        return Requirement(found["key"], found["op"], frozenset(value.strip() for value in found["values"].split(",")))
    if found := _EQUALS.match(term):
        return Requirement(found["key"], "notin" if found["op"] == "!=" else "in", frozenset({found["value"]}))
    if found := _EXISTS.match(term):
        return Requirement(found["key"], "absent" if found["not"] else "exists")
    raise bad_request(f"unable to parse requirement: found '{term}', expected: in, notin, =, ==, !=, gt, lt")


def label_terms(text: str) -> tuple[Requirement, ...]:
    """The terms of ``a=b,c in (d,e),!f``. Raises StatusError 400 for what is none."""
    return tuple(_requirement(term.strip()) for term in _COMMA.split(text) if term.strip())


def label_selector(selector: Mapping[str, Any] | None) -> tuple[Requirement, ...] | None:
    """The terms of a LabelSelector object (matchLabels, matchExpressions); None if it is malformed."""
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}
    if not selector:
        return ()
    terms = [Requirement(key, "in", frozenset({value})) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or []:
        operator = operators.get(expression.get("operator", ""))
        if operator is None:
            return None
        terms.append(Requirement(expression["key"], operator, frozenset(expression.get("values") or ())))
    return tuple(terms)


@dataclass(frozen=True)
class FieldTerm:
    """One term of a field selector, on the position of its field in ``Stored.fields``."""

    index: int
    value: str
    equal: bool


def field_terms(kind: Kind, text: str) -> tuple[FieldTerm, ...]:
    """The terms of ``spec.nodeName=n1,status.phase!=Failed``. Raises StatusError 400 for unknown fields."""
    terms = []
    for term in filter(None, (part.strip() for part in text.split(","))):
        path, operator, value = re.split(r"\s*(==|!=|=)\s*", term, maxsplit=1) if "=" in term else (term, "", "")
        if not operator:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        if path not in kind.selectable:
            raise bad_request(f"field label not supported: {path}")
        terms.append(FieldTerm(kind.selectable.index(path), value, operator != "!="))
    return tuple(terms)


@dataclass(frozen=True)
class Selection:
    """What a list or watch asks for."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[FieldTerm, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not self.labels and not self.fields

    def matches(self, stored: Stored) -> bool:
        """Whether an object is asked for."""
        return all((stored.fields[term.index] == term.value) is term.equal for term in self.fields) and all(
            term.holds(stored.labels) for term in self.labels
        )


def selection(kind: Kind, query: Mapping[str, str]) -> Selection:
    """The selection in a query's labelSelector and fieldSelector. Raises StatusError 400."""
    return Selection(label_terms(query.get("labelSelector", "")), field_terms(kind, query.get("fieldSelector", "")))


Predicate = Callable[[Stored], bool]
