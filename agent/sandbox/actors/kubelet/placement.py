"""Where a pod goes, pure: the few of the scheduler's rules that the worlds need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from agent.sandbox.actors.controller.objects import condition, controller_uid, labels_of, matches
from agent.sandbox.client import Object

HOSTNAME = "kubernetes.io/hostname"


class Unschedulable(Exception):
    """No node will do; the text is the scheduler's."""


def place(pod: Object, nodes: Sequence[Object], on_node: Mapping[str, Sequence[Object]], *, capacity: int) -> str:
    """The name of the node with the fewest pods of the same owner, then the fewest of all. Raises Unschedulable.

    ``on_node`` holds the pods of each node, the terminating ones included: they keep their place until they are gone.
    """
    reasons: Counter[str] = Counter()
    fitting: list[tuple[int, int, int, str]] = []
    for index, node in enumerate(nodes):
        name = node["metadata"]["name"]
        there = [p for p in on_node.get(name, ()) if _occupies(p)]
        if reason := _refusal(pod, node, there, capacity):
            reasons[reason] += 1
        else:
            owner = controller_uid(pod)
            siblings = sum(bool(owner) and controller_uid(p) == owner for p in there)
            fitting.append((siblings, len(there), index, name))
    if fitting:
        return min(fitting)[3]
    detail = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    raise Unschedulable(f"0/{len(nodes)} nodes are available: {detail}.")


def _occupies(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _refusal(pod: Object, node: Object, there: Sequence[Object], capacity: int) -> str:
    if not _selected(pod, node):
        return "node(s) didn't match Pod's node affinity/selector"
    is_daemon = any(r.get("kind") == "DaemonSet" for r in pod["metadata"].get("ownerReferences") or [])
    if node["spec"].get("unschedulable") and not is_daemon:
        return "node(s) were unschedulable"
    if (condition(node, "Ready") or {}).get("status") != "True" and not is_daemon:
        return "node(s) had untolerated taint(s)"
    if len(there) >= capacity:
        return "Too many pods"
    if any(_repels(pod, other) for other in there):
        return "node(s) didn't match pod anti-affinity rules"
    if any(_repels(other, pod) for other in there):
        return "node(s) didn't satisfy existing pods anti-affinity rules"
    return ""


def _selected(pod: Object, node: Object) -> bool:
    having = {HOSTNAME: node["metadata"]["name"], **labels_of(node)}
    if any(having.get(k) != v for k, v in (pod["spec"].get("nodeSelector") or {}).items()):
        return False
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return not required or any(_term(t, having, node) for t in required.get("nodeSelectorTerms") or [])


def _term(term: Object, having: dict[str, str], node: Object) -> bool:
    fields = {"metadata.name": node["metadata"]["name"]}
    by_labels = {"matchExpressions": term.get("matchExpressions") or []}
    by_fields = {"matchExpressions": term.get("matchFields") or []}
    return matches(by_labels, having) and matches(by_fields, fields)


def _repels(one: Object, other: Object) -> bool:
    """Whether ``one`` refuses to be on the same node as ``other``."""
    rules = (one["spec"].get("affinity") or {}).get("podAntiAffinity") or {}
    for rule in rules.get("requiredDuringSchedulingIgnoredDuringExecution") or []:
        if rule.get("topologyKey") != HOSTNAME:
            continue
        namespaces = rule.get("namespaces") or [one["metadata"]["namespace"]]
        if other["metadata"]["namespace"] in namespaces and matches(rule.get("labelSelector"), labels_of(other)):
            return True
    return False
