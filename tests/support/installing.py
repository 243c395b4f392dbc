"""What tests put into a cluster for the agent, and take out again: ESO's kinds, its account, rights and bounds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from support.controlplane import SOURCE
from support.programs import output
from support.rights import ALWAYS, COMPONENTS, K8S, rules

from agent.cluster.connection import Connection
from agent.cluster.errors import ApiProblem, Conflict
from agent.sandbox.world import AGENT_NAMESPACE

ACCOUNT = f"system:serviceaccount:{AGENT_NAMESPACE}:secret-drift-agent"
"""As whom the agent comes to a real API server."""
RBAC, ADMISSION = "/apis/rbac.authorization.k8s.io/v1", "/apis/admissionregistration.k8s.io/v1"
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "ServiceAccount": f"/api/v1/namespaces/{AGENT_NAMESPACE}/serviceaccounts",
    "ValidatingAdmissionPolicy": f"{ADMISSION}/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": f"{ADMISSION}/validatingadmissionpolicybindings",
    "ClusterRole": f"{RBAC}/clusterroles",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
    "Role": f"{RBAC}/namespaces/{AGENT_NAMESPACE}/roles",
    "RoleBinding": f"{RBAC}/namespaces/{AGENT_NAMESPACE}/rolebindings",
}
NAMESPACED = frozenset({"observe", "heal", "restart", "recreate"})
"""What a team can have in its own namespaces alone."""
_OF_THE_CLUSTER = "secret-drift-agent-observe-cluster"
_SETTLED = 60.0


def custom_kinds() -> Iterator[dict[str, Any]]:
    """The CustomResourceDefinitions of ESO's kinds."""
    yield from yaml.safe_load_all((SOURCE / "crds.yaml").read_text())


def manifests() -> Iterator[dict[str, Any]]:
    """The agent's namespace, account and bounds, and its rights as roles: as the base and all components give them.

    Which of the components are bound to the account is each world's own, see ``grant``.
    """
    base = [K8S / "base" / f"{name}.yaml" for name in ("namespace", "account", "ledger")]
    parts = [path for name in ("rights", "admission") for path in sorted((K8S / "components").glob(f"**/{name}.yaml"))]
    for path in (*base, *parts):
        yield from (each for each in yaml.safe_load_all(path.read_text()) if each["kind"] != "ClusterRoleBinding")


def bindings(component: str) -> Iterator[dict[str, Any]]:
    """What gives a component's cluster-wide rights to the agent's account."""
    for path in COMPONENTS[component]:
        yield from (each for each in yaml.safe_load_all(path.read_text()) if each["kind"] == "ClusterRoleBinding")


def put(conn: Connection, document: dict[str, Any], labels: Mapping[str, str] | None = None) -> bool:
    """Create an object of the kinds known here; False if one of its name is there.

    Roles and bindings without a namespace are ones of the agent's own.
    """
    metadata = document["metadata"]
    marked = {**document, "metadata": {**metadata, "labels": {**metadata.get("labels", {}), **(labels or {})}}}
    try:
        path = PATHS[document["kind"]].replace(
            f"/{AGENT_NAMESPACE}/", f"/{metadata.get('namespace', AGENT_NAMESPACE)}/"
        )
        conn.request("POST", path, body=json.dumps(marked).encode())
    except Conflict:
        return False
    return True


def remove(conn: Connection, document: dict[str, Any]) -> None:
    """Delete an object of the kinds known here, if it is there."""
    try:
        conn.request("DELETE", f"{PATHS[document['kind']]}/{document['metadata']['name']}")
    except ApiProblem as error:
        if error.code != 404:
            raise


def grant(
    conn: Connection, components: frozenset[str], labels: Mapping[str, str] | None = None, *, namespace: str = ""
) -> None:
    """Give the agent's account the rights of these components and no others; returns when they are in force.

    ``namespace``: in this one alone, by what ``k8s/namespaced`` makes of them; and what belongs to no namespace.
    """
    everywhere = components - NAMESPACED if namespace else components
    for component in COMPONENTS:
        for binding in bindings(component):
            if component in everywhere or (namespace and binding["metadata"]["name"] == _OF_THE_CLUSTER):
                put(conn, binding, labels)
            else:
                remove(conn, binding)
    for component in sorted(components & NAMESPACED) if namespace else ():
        for document in yaml.safe_load_all(output("kubectl", "kustomize", K8S / "namespaced" / component)):
            put(conn, {**document, "metadata": {**document["metadata"], "namespace": namespace}}, labels)
    until = time.monotonic() + _SETTLED
    optional = [name for name in COMPONENTS if name not in ALWAYS]
    while any(_is_allowed(conn, name, namespace) != (name in components) for name in optional):
        assert time.monotonic() < until, f"the rights of {sorted(components)} were not in force within {_SETTLED} s"
        time.sleep(0.02)


def _is_allowed(conn: Connection, component: str, namespace: str) -> bool:
    rule = min(rules(component))  # of those asked here, one that no other component gives
    resource, _, subresource = rule.resource.partition("/")
    asked = {"verb": rule.verb, "group": rule.group, "resource": resource, "subresource": subresource}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": ACCOUNT, "resourceAttributes": {**asked, "namespace": namespace}},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    return bool(json.loads(conn.request("POST", path, body=json.dumps(body).encode()).body)["status"]["allowed"])


def token(conn: Connection, account: str = "secret-drift-agent", *, seconds: int = 3600) -> str:
    """One of an account in the agent's namespace, as a pod of it gets."""
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}}
    told = conn.request("POST", f"{PATHS['ServiceAccount']}/{account}/token", body=json.dumps(asked).encode())
    return str(json.loads(told.body)["status"]["token"])


def until_served(conn: Connection) -> None:
    """Return when ESO's kinds are served."""
    kinds = [document["spec"] for document in custom_kinds()]
    paths = [f"/apis/{kind['group']}/{kind['versions'][0]['name']}/{kind['names']['plural']}" for kind in kinds]
    until = time.monotonic() + _SETTLED
    while not all(_is_served(conn, path) for path in paths):
        assert time.monotonic() < until, f"ESO's kinds were not served within {_SETTLED} s"
        time.sleep(0.05)


def _is_served(conn: Connection, path: str) -> bool:
    try:
        conn.request("GET", path, query={"limit": "1"})
    except ApiProblem as error:
        if error.code == 404:
            return False
        raise
    return True
