"""A world around a real control plane: ESO's kinds, and the agent's account with its manifests' rights and bounds."""

from __future__ import annotations

import atexit
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml
from support.cleaning import Cleaner
from support.controlplane import SOURCE, ControlPlane, users

from agent.clock import Clock
from agent.cluster.connection import Connection, connect
from agent.cluster.errors import ApiProblem, Conflict, Unreachable
from agent.sandbox.world import AGENT_NAMESPACE, USERS, RealCluster

K8S = Path(__file__).parents[2] / "k8s"
OURS = {"secret-drift-agent/tests": "contract"}
"""The label of namespaces that tests make in a cluster."""
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
    _until_served(conn)


def _until_served(conn: Connection) -> None:
    kinds = [document["spec"] for document in custom_kinds()]
    paths = [f"/apis/{kind['group']}/{kind['versions'][0]['name']}/{kind['names']['plural']}" for kind in kinds]
    until = time.monotonic() + 20
    while not all(_is_served(conn, path) for path in paths):
        assert time.monotonic() < until, "ESO's kinds were not served within 20 s"
        time.sleep(0.05)


class Visit:
    """Tests in a cluster that is not ours: it gets those of ESO's kinds that it lacks, and keeps nothing of ours."""

    def __init__(self, kubeconfig: str) -> None:
        self._conn = connect(kubeconfig, None, clock=Clock(), user_agent="tests")
        self._made = [document for document in custom_kinds() if put(self._conn, document)]
        _until_served(self._conn)

    def end(self) -> None:
        """Remove the namespaces of the tests, wait for their end, then remove the kinds that were added."""
        path, until = _PLURALS["Namespace"], time.monotonic() + 120
        query = {"labelSelector": ",".join(f"{name}={value}" for name, value in OURS.items())}
        while left := json.loads(self._conn.request("GET", path, query=query).body)["items"]:
            for meta in (namespace["metadata"] for namespace in left):
                if "deletionTimestamp" not in meta:
                    self._conn.request("DELETE", f"{path}/{meta['name']}")
            assert time.monotonic() < until, (
                f"namespaces that do not end: {[each['metadata']['name'] for each in left]}"
            )
            time.sleep(0.5)
        for document in self._made:
            self._conn.request("DELETE", f"{_PLURALS[document['kind']]}/{document['metadata']['name']}")
        self._conn.close()


def put(conn: Connection, document: dict[str, Any]) -> bool:
    """Create an object of the kinds known here; False if one of its name is there."""
    try:
        conn.request("POST", _PLURALS[document["kind"]], body=json.dumps(document).encode())
    except Conflict:
        return False
    return True


def _is_served(conn: Connection, path: str) -> bool:
    try:
        conn.request("GET", path, query={"limit": "1"})
    except ApiProblem as error:
        if error.code == 404:
            return False
        raise
    return True


class Installed:
    """A control plane with everything installed, which one world after another is put around."""

    def __init__(self) -> None:
        known = users({name: _ALL_RIGHTS for name in USERS if name != "agent"})
        with ExitStack() as stack:
            self.plane = stack.enter_context(ControlPlane(known))
            self._conn = connect(str(self.plane.kubeconfig), None, clock=Clock(), user_agent="tests")
            stack.callback(self._conn.close)
            install(self._conn)
            self._cleaner = Cleaner(self._conn)
            tokens = {name: user.token for name, user in known.items()} | {"agent": token(self._conn)}
            self._stack = stack.pop_all()
        pem = (self.plane.directory / "ca.pem").read_bytes()
        client = ssl.create_default_context(cadata=pem.decode())
        self.cluster = RealCluster(url=self._conn.host, client=client, pem=pem, tokens=tokens)

    def clean(self) -> bool:
        """Whether nothing is left of the last world, not even in the minds of the controllers."""
        try:
            return not self.plane.disturbed and self._cleaner.clean()
        except (ApiProblem, Unreachable):
            return False

    def stop(self) -> None:
        """End it."""
        self._stack.close()


@contextmanager
def admin(plane: ControlPlane) -> Iterator[Connection]:
    """A connection with all rights."""
    conn = connect(str(plane.kubeconfig), None, clock=Clock(), user_agent="tests")
    try:
        yield conn
    finally:
        conn.close()


_idle: list[Installed] = []


@atexit.register
def _stop_idle() -> None:
    while _idle:
        _idle.pop().stop()


@contextmanager
def real_cluster() -> Iterator[tuple[ControlPlane, RealCluster]]:
    """A control plane with everything installed and nothing else in it, and how a world's actors reach it.

    A test process keeps it for its next world; one that does not come clean is replaced.
    """
    installed = _idle.pop() if _idle else Installed()
    try:
        yield installed.plane, installed.cluster
    finally:
        if installed.clean():
            _idle.append(installed)
        else:
            installed.stop()
