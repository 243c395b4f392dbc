"""Namespaces, nodes, PodDisruptionBudgets and PushSecrets."""

from __future__ import annotations

from agent.cluster.decode.wire import Condition, LabelSelector, Meta, Unfit, Wire, condition, key_of, seconds
from agent.fingerprint import Fingerprints
from agent.model import MODE, OFF_LIMITS, Budget, Namespace, Node, PushSource


class NamespaceStatus(Wire):
    """status of a namespace."""

    phase: str | None = None


class NamespaceWire(Wire):
    """A namespace."""

    metadata: Meta
    status: NamespaceStatus | None = None


class NodeStatus(Wire):
    """status of a node."""

    conditions: list[Condition] | None = None


class NodeWire(Wire):
    """A node."""

    metadata: Meta
    status: NodeStatus | None = None


class BudgetSpec(Wire):
    """spec of a PodDisruptionBudget."""

    selector: LabelSelector | None = None
    unhealthy_pod_eviction_policy: str | None = None


class BudgetStatus(Wire):
    """status of a PodDisruptionBudget."""

    observed_generation: int = 0
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0


class BudgetWire(Wire):
    """A PodDisruptionBudget (policy/v1)."""

    metadata: Meta
    spec: BudgetSpec
    status: BudgetStatus | None = None


class PushedSecret(Wire):
    """spec.selector.secret of a PushSecret."""

    name: str | None = None
    selector: LabelSelector | None = None


class PushSelector(Wire):
    """spec.selector of a PushSecret; a generator is no Secret."""

    secret: PushedSecret | None = None


class PushSpec(Wire):
    """spec of a PushSecret."""

    selector: PushSelector | None = None


class PushWire(Wire):
    """A PushSecret (external-secrets.io/v1alpha1)."""

    metadata: Meta
    spec: PushSpec


def namespace(wire: NamespaceWire, _: Fingerprints | None) -> Namespace:
    """A namespace."""
    meta = wire.metadata
    terminating = wire.status is not None and wire.status.phase == "Terminating"
    return Namespace(
        name=_name(meta),
        mode=OFF_LIMITS if OFF_LIMITS in (meta.labels or {}) else (meta.annotations or {}).get(MODE, ""),
        deleting=meta.deletion_timestamp is not None or terminating,
    )


def node(wire: NodeWire, _: Fingerprints | None) -> Node:
    """A node; one that says nothing of its readiness is not ready."""
    ready = condition(wire.status.conditions if wire.status else None, "Ready")
    is_ready = ready is not None and ready.status == "True"
    since = seconds(ready.last_transition_time) if ready is not None and is_ready else None
    created = wire.metadata.creation_timestamp.timestamp()
    return Node(name=_name(wire.metadata), ready=is_ready, ready_since=since or 0.0, created=created)


def budget(wire: BudgetWire, _: Fingerprints | None) -> Budget:
    """A PodDisruptionBudget. In policy/v1 an empty selector covers every pod of the namespace, none covers no pod."""
    spec, status = wire.spec, wire.status or BudgetStatus()
    return Budget(
        key=key_of(wire.metadata),
        selector=spec.selector.to_model() if spec.selector is not None else None,
        allowed=status.disruptions_allowed,
        healthy=status.current_healthy,
        desired=status.desired_healthy,
        expected=status.expected_pods,
        observed=status.observed_generation >= wire.metadata.generation,
        unhealthy_policy=spec.unhealthy_pod_eviction_policy or "IfHealthyBudget",
    )


def push_source(wire: PushWire, _: Fingerprints | None) -> PushSource:
    """A PushSecret."""
    secret = (wire.spec.selector.secret if wire.spec.selector else None) or PushedSecret()
    return PushSource(
        key=key_of(wire.metadata),
        secret=secret.name or "",
        selector=secret.selector.to_model() if secret.selector is not None else None,
        deleting=wire.metadata.deletion_timestamp is not None,
    )


def _name(meta: Meta) -> str:
    if not meta.name:
        raise Unfit("metadata.name", "is empty")
    return meta.name
