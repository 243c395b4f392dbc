"""Which rights in the cluster the policy in force needs, and which would be dangerous without need. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from agent.policy import Policy

ESO, ADMISSION = "external-secrets.io", "admissionregistration.k8s.io"
Right = tuple[str, str, str]
"""(verb, API group, resource or resource/subresource)."""
MOST_NAMESPACES = 100
"""In which a right is asked for one by one, where it is not given in all of them at once."""


MOST_ROLES = 3
"""Namespaces of a rule for which a Role in each is proposed, in place of a ClusterRole."""


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """Rights for one purpose."""

    name: str
    rights: tuple[Right, ...]
    where: tuple[str | None, ...] = (None,)
    """Namespaces; None: all of them, or of a kind that is in none."""
    instead: tuple[str, ...] = ()
    """The namespaces in which they are enough, where they are not given in all."""
    few: bool = False
    """So few of the cluster's namespaces that a Role in each is less than a ClusterRole."""
    without: str = ""
    """What cannot be done without them; where that leaves the rest of the work possible, they are ``optional``."""
    optional: bool = False


def reading(namespaces: tuple[str, ...], *, push: bool) -> list[Need]:
    """What every command needs: to list and watch what chains are made of."""
    where: tuple[str | None, ...] = namespaces or (None,)
    stores = ("externalsecrets", "secretstores", *(("pushsecrets",) if push else ()))
    workloads = _each(("list", "watch"), "apps", "deployments", "replicasets", "statefulsets", "daemonsets")
    return [
        Need(name="read namespaces", rights=_each(("list", "watch"), "", "namespaces", "nodes")),
        Need(name="read chains", rights=_each(("list", "watch"), ESO, *stores), where=where),
        Need(name="read stores", rights=_each(("list", "watch"), ESO, "clustersecretstores")),
        Need(name="read Secrets", rights=_each(("get", "list", "watch"), "", "secrets"), where=where),
        Need(name="read workloads", rights=(*_each(("list", "watch"), "", "pods"), *workloads), where=where),
        Need(
            name="read Events", rights=(("list", "", "events"),), where=where, optional=True,
            without="why ESO fails stands in its Events only: a failed sync has no cause then",
        ),
        Need(
            name="read admission", optional=True,
            rights=_each(("list",), ADMISSION, "validatingadmissionpolicies", "validatingadmissionpolicybindings"),
            without="whether admission policies bound our writes is not known then",
        ),
    ]  # fmt: skip


def at_home(namespace: str) -> list[Need]:
    """What every run keeps in its own namespace."""
    return [
        Need(
            name="ledger", where=(namespace,),
            rights=(
                *_each(("get", "list", "create", "update"), "", "configmaps", "secrets"),
                *_each(("watch",), "", "configmaps"),  # requests of persons
            ),
        ),
        Need(
            name="lease", where=(namespace,),
            rights=_each(("get", "create", "update"), "coordination.k8s.io", "leases"),
            without="the agent cannot know whether another one is at work",
        ),
    ]  # fmt: skip


def healing(policy: Policy, namespaces: tuple[str, ...], known: tuple[str, ...] | None) -> list[Need]:
    """What the steps need that the policy allows. ``known``: namespaces of the cluster, None if they are not known."""
    if policy.mode != "heal":
        return []
    recycled = bool(policy.recycle)
    syncs = _Where(
        namespaces, known, any("force-sync" in rule.steps for rule in policy.sync), _sync("force-sync", policy)
    )
    recreates = _Where(
        namespaces, known, any("recreate" in rule.steps for rule in policy.sync), _sync("recreate", policy)
    )
    recycles = _Where(namespaces, known, recycled, lambda name: policy.recycle_rule(name) is not None)
    logs = _Where(namespaces, known, any(rule.canary.log for rule in policy.recycle), lambda name: _log(policy, name))
    tells = _Where(
        namespaces, known, recycled or any(rule.steps for rule in policy.sync),
        lambda name: bool(_steps(policy, name)) or policy.recycle_rule(name) is not None,
    )  # fmt: skip
    workloads = _each(("get",), "apps", "deployments", "statefulsets", "daemonsets")
    found = [
        syncs.need(name="force-sync", rights=(("patch", ESO, "externalsecrets"),)),
        recreates.need(name="recreate", rights=(("delete", "", "secrets"),)),
        recycles.need(name="recycle", rights=(("create", "", "pods/eviction"), *workloads)),
        recycles.need(
            name="read budgets", rights=(("list", "policy", "poddisruptionbudgets"),), optional=True,
            without="a budget that forbids an eviction is obeyed, but not named",
        ),
        recycles.need(
            name="restart", rights=(("patch", "apps", "deployments"), ("get", "", "persistentvolumeclaims")),
            optional=True, without="a Deployment of a single replica keeps its old value: nothing restarts it",
        ),
        logs.need(name="read logs", rights=(("get", "", "pods/log"),)),
        tells.need(
            name="tell Events", rights=_each(("get", "create", "patch"), "", "events"), optional=True,
            without="what is done and refused is not in kubectl describe",
        ),
    ]  # fmt: skip
    return [need for need in found if need is not None]


def dangerous(needs: list[Need]) -> list[Right]:
    """What could do harm and is needed by none of these."""
    needed = {right for need in needs for right in need.rights}
    apps = ("deployments", "statefulsets", "daemonsets")
    all_of_them: list[Right] = [
        ("delete", "", "secrets"), ("create", "", "pods/eviction"), ("delete", "", "pods"),
        ("patch", ESO, "externalsecrets"), *(("patch", "apps", name) for name in apps),
    ]  # fmt: skip
    return [right for right in all_of_them if right not in needed]


class _Where:
    """The namespaces in which the policy allows something. ``ever``: whether any rule of it allows that at all."""

    def __init__(
        self, namespaces: tuple[str, ...], known: tuple[str, ...] | None, ever: bool, allows: Callable[[str], bool]
    ) -> None:
        self._narrowed = bool(namespaces)
        self._unknown = ever and known is None and not namespaces
        there = namespaces or known or ()
        self._matched = tuple(name for name in there if allows(name))
        self._few = len(self._matched) < len(there) and len(self._matched) <= MOST_ROLES

    def need(self, *, name: str, rights: tuple[Right, ...], without: str = "", optional: bool = False) -> Need | None:
        """The need, None where nothing matches."""
        if not self._matched and not self._unknown:
            return None
        where: tuple[str | None, ...] = self._matched if self._narrowed else (None,)
        instead = () if self._narrowed or len(self._matched) > MOST_NAMESPACES else self._matched
        return Need(
            name=name, rights=rights, where=where, instead=instead, few=self._few, without=without, optional=optional
        )


def _sync(step: str, policy: Policy) -> Callable[[str], bool]:
    return lambda name: step in _steps(policy, name)


def _steps(policy: Policy, namespace: str) -> tuple[str, ...]:
    rule = policy.sync_rule(namespace)
    return rule.steps if rule is not None else ()


def _log(policy: Policy, namespace: str) -> bool:
    rule = policy.recycle_rule(namespace)
    return rule is not None and rule.canary.log is not None


def _each(verbs: tuple[str, ...], group: str, *resources: str) -> tuple[Right, ...]:
    return tuple((verb, group, resource) for resource in resources for verb in verbs)
