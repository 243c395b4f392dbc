"""The manifests in a cluster with a real API server, and requests to it as its admin and as the agent's account."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, NamedTuple

import requests
import yaml
from k8s.rendered import HOME, K8S, Objects, by_name, kustomize
from support.programs import output, program

Object = dict[str, Any]
OFF_LIMITS = "secret-drift-agent/off-limits"
MERGE = "application/merge-patch+json"
READY_WITHIN = 30.0


class Answer(NamedTuple):
    """What the API server says: ``words`` is the message of a refusal."""

    code: int
    words: str
    body: Object


class Api:
    """Requests under one identity, as plain as an attacker would send them."""

    def __init__(self, server: str, session: requests.Session) -> None:
        self._server, self._session = server, session

    def __call__(self, method: str, path: str, body: object = None, content: str = "application/json") -> Answer:
        sent = None if body is None else json.dumps(body)
        got = self._session.request(
            method, self._server + path, data=sent, headers={"Content-Type": content}, timeout=30
        )
        told = got.json() if got.headers.get("Content-Type", "").startswith("application/json") else {}
        return Answer(got.status_code, str(told.get("message", "")) if got.status_code >= 400 else "", told)


class Cluster:
    """One cluster with the agent's manifests in it, and two namespaces: one to heal in, and one that is off limits."""

    def __init__(self, kubeconfig: str, directory: Path) -> None:
        self.kubeconfig, self._directory = kubeconfig, directory
        mark = secrets.token_hex(3)
        self.open, self.closed = f"admission-{mark}", f"admission-{mark}-off"
        self.admin = self._api(_flat(kubeconfig))

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """As the admin. Raises AssertionError where it fails."""
        told = [str(program("kubectl")), "--kubeconfig", self.kubeconfig, *arguments]
        ended = subprocess.run(told, input=stdin, capture_output=True, text=True, check=False, timeout=120)
        assert ended.returncode == 0, f"kubectl {' '.join(arguments)}\n{ended.stderr}"
        return ended.stdout

    def apply(self, objects: Objects | list[Object]) -> None:
        """Server-side, as one."""
        listed = objects.values() if isinstance(objects, dict) else objects
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(listed))

    def remove(self, objects: Objects | list[Object]) -> None:
        """Whatever of them is there, and wait until it is gone."""
        listed = objects.values() if isinstance(objects, dict) else objects
        self.kubectl("delete", "--ignore-not-found", "--wait", "-f", "-", stdin=yaml.safe_dump_all(listed))

    def agent(self) -> Api:
        """With a token of the agent's ServiceAccount."""
        token = self.kubectl("-n", HOME, "create", "token", HOME).strip()
        return self._api(_flat(self.kubeconfig), token)

    def agents_kubeconfig(self) -> Path:
        """The same cluster, with such a token."""
        config = _flat(self.kubeconfig)
        config["users"][0]["user"] = {"token": self.kubectl("-n", HOME, "create", "token", HOME).strip()}
        path = self._directory / "agent.kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def soon(self, condition: Callable[[], bool], why: str) -> None:
        """Wait until it holds: rights and policies take a moment to arrive everywhere."""
        end = time.monotonic() + READY_WITHIN
        while not condition():
            assert time.monotonic() < end, f"not within {READY_WITHIN} s: {why}"
            time.sleep(0.1)

    def _api(self, config: Object, token: str = "") -> Api:
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        session = requests.Session()
        session.trust_env = False
        session.verify = self._file(cluster["certificate-authority-data"], "ca.pem")
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
        elif "token" in user:
            session.headers["Authorization"] = f"Bearer {user['token']}"
        else:
            certificate = self._file(user["client-certificate-data"], "admin.pem")
            session.cert = (certificate, self._file(user["client-key-data"], "admin.key"))
        return Api(cluster["server"], session)

    def _file(self, data: str, name: str) -> str:
        path = self._directory / name
        path.write_bytes(base64.b64decode(data))
        return str(path)


@contextmanager
def installed(kubeconfig: str, components: tuple[str, ...], *, one_namespace: bool = False) -> Iterator[Cluster]:
    """The overlay deployment with these components, and the two namespaces; all of it is removed at the end.

    ``one_namespace``: with rights in the namespace to heal in, and what components/observe/cluster gives.

    Raises RuntimeError where the agent's namespace is there already: what others installed is not touched.
    """
    with alone(kubeconfig), TemporaryDirectory(prefix="realcluster-") as directory:
        cluster = Cluster(kubeconfig, Path(directory))
        if cluster.admin("GET", f"/api/v1/namespaces/{HOME}").code == 200:
            raise RuntimeError(f"namespace {HOME} is there already; these tests install the agent themselves")
        namespaces = _namespaces(cluster)
        objects = kustomize("deployment", components, (cluster.open,) if one_namespace else ())
        if one_namespace:
            objects |= by_name(output("kubectl", "kustomize", K8S / "components" / "observe" / "cluster"))
        try:
            cluster.apply(namespaces)
            cluster.apply(objects)
            yield cluster
        finally:
            cluster.remove([each for each in objects.values() if each["kind"] != "Namespace"])
            cluster.remove(namespaces)


@contextmanager
def alone(kubeconfig: str) -> Iterator[None]:
    """One at a time in this cluster, since the agent's namespace has a fixed name; and with the kinds of ESO."""
    kubectl = [str(program("kubectl")), "--kubeconfig", kubeconfig]
    mark = hashlib.sha256(kubeconfig.encode()).hexdigest()[:16]
    with (Path(gettempdir()) / f"{HOME}-{mark}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        names = [f"crd/{kind['metadata']['name']}" for kind in _kinds()]
        if subprocess.run([*kubectl, "get", names[0]], capture_output=True, check=False).returncode == 0:
            yield
            return
        made = yaml.safe_dump_all(_kinds())
        subprocess.run([*kubectl, "apply", "-f", "-"], input=made, text=True, capture_output=True, check=True)
        try:
            established = [*kubectl, "wait", "--for=condition=Established", "--timeout=30s", *names]
            subprocess.run(established, capture_output=True, check=True)
            yield
        finally:
            subprocess.run([*kubectl, "delete", *names], capture_output=True, check=False)


def _namespaces(cluster: Cluster) -> list[Object]:
    labels = {
        cluster.open: {},
        cluster.closed: {OFF_LIMITS: "true"},
        HOME: {"pod-security.kubernetes.io/enforce": "restricted"},
    }
    made = ({"name": name, "labels": given} for name, given in labels.items())
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata} for metadata in made]


def _kinds() -> list[Object]:
    """The kinds of External Secrets Operator as open as can be, for a cluster in which it is not installed."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": anything, "status": anything}}}
    found = []
    for kind, version, scope in (
        ("ExternalSecret", "v1", "Namespaced"),
        ("SecretStore", "v1", "Namespaced"),
        ("ClusterSecretStore", "v1", "Cluster"),
        ("PushSecret", "v1alpha1", "Namespaced"),
    ):
        plural, group = f"{kind.lower()}s", "external-secrets.io"
        served = {"name": version, "served": True, "storage": True, "subresources": {"status": {}}, "schema": schema}
        names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
        spec = {"group": group, "scope": scope, "names": names, "versions": [served]}
        metadata = {"name": f"{plural}.{group}"}
        found.append(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": metadata,
                "spec": spec,
            }
        )
    return found


def _flat(kubeconfig: str) -> Object:
    view = ("config", "view", "--raw", "--minify", "--flatten", "-o", "json")
    told = [str(program("kubectl")), "--kubeconfig", kubeconfig, *view]
    found: Object = json.loads(subprocess.run(told, capture_output=True, check=True, timeout=30).stdout)
    return found
