"""Which collections of the cluster are read, what of them, and in which order."""

from __future__ import annotations

from typing import Any

from agent.cluster.reflector import Scope
from agent.fingerprint import Fingerprints
from agent.model import Pod

MANAGED = "reconcile.external-secrets.io/managed=true"
"""ESO's label on the Secrets that it writes: no other Secret of the cluster is ever read."""

CLUSTER_WIDE = ("namespaces", "nodes", "clustersecretstores")
_CHAINS = ("externalsecrets", "secretstores", "pushsecrets", "secrets")
_OWNERS = ("replicasets", "deployments", "statefulsets", "daemonsets")
NAMESPACED = (*_CHAINS, *_OWNERS, "pods")
"""In the order in which they are taken in: before pods the Secrets, so that no container that resolves after our first
look at its Secret is seen before it, and who owns them."""


def scopes(namespaces: tuple[str, ...]) -> list[Scope]:
    """All that is read, in the order in which it is taken in; ``namespaces`` empty: of all namespaces."""
    wide = [Scope(resource) for resource in CLUSTER_WIDE]
    return wide + [Scope(resource, namespace) for resource in NAMESPACED for namespace in namespaces or (None,)]


def as_asked_for(taken_in: list[Scope]) -> list[Scope]:
    """The same in the order in which it is best asked for.

    Pods take as long as all the rest together: they come before their owners, which can be read beside them.
    """
    return sorted(taken_in, key=lambda scope: scope.resource in _OWNERS)


def part_of(scope: Scope, fingerprints: Fingerprints) -> dict[str, Any]:
    """What of a collection is asked for and kept: arguments of ``list_all`` and ``Reflector``."""
    if scope.resource == "secrets":
        return {"fingerprints": fingerprints, "label_selector": MANAGED}
    return {"keep": _uses_secrets} if scope.resource == "pods" else {}


def _uses_secrets(pod: Pod) -> bool:
    """Pods that consume no Secret at all are not kept."""
    return any(spec.uses for spec in pod.containers)
