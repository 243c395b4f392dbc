"""A world around a real control plane: ESO's kinds, and the agent's account with its manifests' rights and bounds."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from support.controlplane import SOURCE, ControlPlane, users

from agent.clock import Clock
from agent.cluster.connection import Connection, connect
from agent.cluster.errors import ApiProblem, Conflict
from agent.sandbox.world import AGENT_NAMESPACE, USERS, RealCluster

K8S = Path(__file__).parents[2] / "k8s"
_ALL_RIGHTS = ("system:masters",)
_PLURALS = {
    "Namespace": "/api/v1/namespaces",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "ServiceAccount": f"/api/v1/namespaces/{AGENT_NAMESPACE}/serviceaccounts",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Role": f"/apis/rbac.authorization.k8s.io/v1/namespaces/{AGENT_NAMESPACE}/roles",
    "RoleBinding": f"/apis/rbac.authorization.k8s.io/v1/namespaces/{AGENT_NAMESPACE}/rolebindings",
}


def manifests() -> Iterator[dict[str, Any]]:
    """The agent's namespace, account, rights and bounds, as the base and all components give them."""
    base = [K8S / "base" / f"{name}.yaml" for name in ("namespace", "account", "ledger")]
    parts = [path for name in ("rights", "admission") for path in sorted((K8S / "components").glob(f"**/{name}.yaml"))]
    for path in (*base, *parts):
        yield from yaml.safe_load_all(path.read_text())


def token(conn: Connection) -> str:
    """One of the agent's account, as a pod of it gets."""
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    path = f"{_PLURALS['ServiceAccount']}/{AGENT_NAMESPACE}/token"
    told = conn.request("POST", path, body=json.dumps(asked).encode())
    return str(json.loads(told.body)["status"]["token"])


def custom_kinds() -> Iterator[dict[str, Any]]:
    """The CustomResourceDefinitions of ESO's kinds."""
    yield from yaml.safe_load_all((SOURCE / "crds.yaml").read_text())


def install(conn: Connection) -> None:
    """Put both into a cluster, and return when ESO's kinds are served. What is there already stays as it is."""
    for document in (*custom_kinds(), *manifests()):
        put(conn, document)
    kinds = [document["spec"] for document in custom_kinds()]
    paths = [f"/apis/{kind['group']}/{kind['versions'][0]['name']}/{kind['names']['plural']}" for kind in kinds]
    until = time.monotonic() + 20
    while not all(_is_served(conn, path) for path in paths):
        assert time.monotonic() < until, "ESO's kinds were not served within 20 s"
        time.sleep(0.05)


def put(conn: Connection, document: dict[str, Any]) -> None:
    """Create an object of the kinds known here, unless one of its name is there."""
    with suppress(Conflict):
        conn.request("POST", _PLURALS[document["kind"]], body=json.dumps(document).encode())


def _is_served(conn: Connection, path: str) -> bool:
    try:
        conn.request("GET", path, query={"limit": "1"})
    except ApiProblem as error:
        if error.code == 404:
            return False
        raise
    return True


@contextmanager
def real_cluster() -> Iterator[tuple[ControlPlane, RealCluster]]:
    """A fresh control plane with everything installed, and how a world's actors reach it."""
    known = users({name: _ALL_RIGHTS for name in USERS if name != "agent"})
    with ControlPlane(known) as plane:
        conn = connect(str(plane.kubeconfig), None, clock=Clock(), user_agent="tests")
        try:
            install(conn)
            pem = (plane.directory / "ca.pem").read_bytes()
            client = ssl.create_default_context(cadata=pem.decode())
            tokens = {name: user.token for name, user in known.items()} | {"agent": token(conn)}
            yield plane, RealCluster(url=conn.host, client=client, pem=pem, tokens=tokens)
        finally:
            conn.close()
