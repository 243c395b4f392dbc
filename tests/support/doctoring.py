"""What ``doctor`` says, as the facts that scenarios compare."""

from __future__ import annotations

from typing import Any

from support.processes import Result
from support.scenario import Scenario

from agent.bounds import ALWAYS, BOUND_BY


class Told:
    """One visit, by its JSON document."""

    def __init__(self, result: Result) -> None:
        self.code, self.err = result.code, result.err
        self.document: dict[str, Any] = result.json()

    def line(self, area: str, name: str) -> dict[str, Any]:
        """The one line of that area and name."""
        found = self.lines(area, name)
        assert len(found) == 1, f"{area}/{name}: {found} of {self.document['lines']}"
        return found[0]

    def lines(self, area: str, name: str | None = None) -> list[dict[str, Any]]:
        """All lines of an area, or of one name in it."""
        return [each for each in self.document["lines"] if each["area"] == area and name in (None, each["name"])]

    def states(self, area: str) -> dict[str, str]:
        """Name -> state of an area's lines."""
        return {each["name"]: each["state"] for each in self.lines(area)}

    def of_state(self, *states: str) -> list[tuple[str, str]]:
        """(area, name) of the lines in these states, in order."""
        return [(each["area"], each["name"]) for each in self.document["lines"] if each["state"] in states]


def doctor(s: Scenario, *arguments: str) -> Told:
    """Run it to its end."""
    return Told(s.launch("doctor", "-o", "json", *arguments).wait())


def controller(image: str, *, ready: int = 1) -> dict[str, Any]:
    """ESO's Deployment as its chart makes it, with the status that it has."""
    labels = {"app.kubernetes.io/name": "external-secrets"}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "external-secrets", "namespace": "external-secrets", "labels": labels},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "external-secrets", "image": image, "args": ["--concurrent=1"]}]},
            },
        },
        "status": {"replicas": 1, "readyReplicas": ready, "observedGeneration": 1},
    }  # fmt: skip


def webhook(*, ca: str = "Q0E=", policy: str = "Fail") -> dict[str, Any]:
    """ESO's webhook configuration as its chart makes it."""
    service = {"namespace": "external-secrets", "name": "external-secrets-webhook", "path": "/validate"}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "externalsecret-validate"},
        "webhooks": [
            {
                "name": "validate.externalsecret.external-secrets.io", "failurePolicy": policy,
                "clientConfig": {"service": service, **({"caBundle": ca} if ca else {})},
                "sideEffects": "None", "admissionReviewVersions": ["v1"],
            }
        ],
    }  # fmt: skip


ALL_BOUNDS = (*ALWAYS, *BOUND_BY.values())


def in_force(*, but: str = "") -> list[dict[str, Any]]:
    """All that bounds an agent with all rights, in force; or all but one."""
    return [each for name in ALL_BOUNDS if name != but for each in bound(name)]


def bound(name: str, *, binding: bool = True) -> list[dict[str, Any]]:
    """A ValidatingAdmissionPolicy, and its binding."""
    group = {"apiVersion": "admissionregistration.k8s.io/v1"}
    policy = {**group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": {}}
    spec = {"policyName": name, "validationActions": ["Deny"]}
    in_force = {**group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": spec}
    return [policy, in_force] if binding else [policy]
