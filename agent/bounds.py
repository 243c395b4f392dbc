"""Which ValidatingAdmissionPolicies of k8s/ bound which of the agent's rights to write. Pure.

A right is granted by a component, and its bound comes beside it. One that is there says nothing of the others.
"""

from __future__ import annotations

from collections.abc import Collection

PREFIX = "secret-drift-agent-"

ALWAYS = ("secret-drift-agent-observe", "secret-drift-agent-observe-events")
"""What bounds the ledger and the Events, which every agent writes."""

BOUND_BY: dict[tuple[str, str, str], str] = {
    ("patch", "external-secrets.io", "externalsecrets"): "secret-drift-agent-heal-externalsecrets",
    ("create", "", "pods/eviction"): "secret-drift-agent-heal-pods",
    ("patch", "apps", "deployments"): "secret-drift-agent-restart",
    ("delete", "", "secrets"): "secret-drift-agent-recreate",
}
"""(verb, API group, resource or resource/subresource) -> the policy that says what may be done with it."""


def wanted(held: Collection[tuple[str, str, str]]) -> tuple[str, ...]:
    """The policies that bound an agent with these rights to write."""
    return (*ALWAYS, *(name for right, name in BOUND_BY.items() if right in held))
