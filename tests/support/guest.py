"""Scenarios in a cluster that is not ours: they refuse what they could harm, mark what they make, and take it away.

All of it bears one label. The namespaces and cluster-wide objects of the stories have the names that they have
everywhere; where somebody else's object has such a name, nothing is done at all.
"""

from __future__ import annotations

import base64
import copy
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from support.cleaning import Cleaner
from support.installing import PATHS, custom_kinds, grant, manifests, put, token, until_served
from support.realworld import Installed
from support.requested import Recorder
from support.rights import ALWAYS
from support.tunnel import Tunnel

from agent.clock import Clock
from agent.cluster.connection import Connection, connect
from agent.cluster.errors import ApiProblem, Unreachable
from agent.sandbox.apiserver.kinds import KINDS
from agent.sandbox.client import Object
from agent.sandbox.pki import authority
from agent.sandbox.world import AGENT_NAMESPACE, USERS, Options, RealCluster

LABEL = "secret-drift-agent/tests"
CONTRACTS, SCENARIOS = {LABEL: "contract"}, {LABEL: "scenario"}
"""On all that tests make in a foreign cluster."""
SCHEDULER = "secret-drift-agent-tests"
"""By this name the pods of the stories ask for the sandbox's scheduler, which every other one leaves to it."""
_HEARTBEAT = 10.0
_A_DAY = 86400
_ENDED_WITHIN = 180.0
_ESO = "/apis/external-secrets.io/v1/externalsecrets"
_CRDS = PATHS["CustomResourceDefinition"]
_TEMPLATED = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job")
_MARKED = [kind for kind in KINDS if not kind.namespaced and kind.kind != "Namespace"]
_OWN_ONLY = ("ClusterRoleBinding", "ClusterRole", "CustomResourceDefinition")


class Refused(Exception):
    """This cluster holds what the scenarios could harm, or what would change them; says what, and what to do."""


class Visit:
    """Tests in a foreign cluster: it gets those of ESO's kinds that it lacks, and keeps nothing of ours.

    ``scenarios``: with the agent's manifests, and only where nothing of others stands in their way. Raises Refused.
    """

    def __init__(self, kubeconfig: str, *, scenarios: bool, eso: bool) -> None:
        self._conn = connect(kubeconfig, None, clock=Clock(), user_agent="tests")
        self._labels = SCENARIOS if scenarios else CONTRACTS
        if scenarios:
            self._sweep()  # what a run that was killed has left
            self._refuse(eso)
        try:
            for document in custom_kinds():
                put(self._conn, document, self._labels)
            until_served(self._conn)
            for document in manifests() if scenarios else ():
                put(self._conn, document, self._labels)
        except BaseException:
            self.end()
            raise

    @property
    def host(self) -> str:
        """Where the cluster is."""
        return self._conn.host

    def end(self) -> None:
        """Take away all that was made, wait for the end of the namespaces, and remove the added kinds last."""
        self._sweep()
        self._conn.close()

    def eso_version(self) -> str:
        """Of the External Secrets Operator that works there; "" where none is found."""
        query = {"labelSelector": "app.kubernetes.io/name=external-secrets"}
        for found in self._items("/apis/apps/v1/deployments", query):
            image = found["spec"]["template"]["spec"]["containers"][0]["image"]
            return str(image.rpartition(":")[2])
        return ""

    def _refuse(self, eso: bool) -> None:
        taken = [f"{document['kind']} {document['metadata']['name']}" for document in manifests()
                 if self._is_there(document)]  # fmt: skip
        taken += [f"Node {name}" for name in Options().nodes if self._found(f"/api/v1/nodes/{name}")]
        if taken:
            raise Refused(f"{self.host}: there already, and not of these tests: {', '.join(taken)}")
        has_kinds = self._found(f"{_CRDS}/externalsecrets.external-secrets.io")
        if eso and not has_kinds:
            raise Refused(f"{self.host}: --eso real, but External Secrets Operator is not installed there")
        if not eso and self.eso_version():
            raise Refused(
                f"{self.host}: External Secrets Operator works there; scenarios run with it by --eso real, "
                "or in a cluster without it"
            )
        others = [f"{o['metadata']['namespace']}/{o['metadata']['name']}" for o in self._items(_ESO, {})
                  ] if has_kinds else []  # fmt: skip
        if others:
            raise Refused(
                f"{self.host}: the scenarios heal whatever drifts, and this cluster has ExternalSecrets of others: "
                f"{', '.join(others[:5])}; name another cluster"
            )

    def _is_there(self, document: dict[str, Any]) -> bool:
        return self._found(f"{PATHS[document['kind']]}/{document['metadata']['name']}")

    def _sweep(self) -> None:
        if self._labels is SCENARIOS:
            Cleaner(self._conn, SCENARIOS, keep=False).clean()
        query = {"labelSelector": ",".join(f"{name}={value}" for name, value in self._labels.items())}
        self._end_namespaces(query)
        for kind in _MARKED if self._labels is SCENARIOS else ():
            prefix = f"/apis/{kind.group}" if kind.group else "/api"
            self._delete_all(f"{prefix}/{kind.version}/{kind.plural}", query)
        for name in _OWN_ONLY:
            self._delete_all(PATHS[name], query)

    def _end_namespaces(self, query: dict[str, str]) -> None:
        path, until = PATHS["Namespace"], time.monotonic() + _ENDED_WITHIN
        while left := self._items(path, query):
            for meta in (namespace["metadata"] for namespace in left):
                if "deletionTimestamp" not in meta:
                    self._delete(f"{path}/{meta['name']}")
            names = [each["metadata"]["name"] for each in left]
            assert time.monotonic() < until, f"namespaces that do not end: {names}"
            time.sleep(0.5)

    def _delete_all(self, path: str, query: dict[str, str]) -> None:
        until = time.monotonic() + _ENDED_WITHIN
        while left := self._items(path, query):
            for meta in (found["metadata"] for found in left):
                if "deletionTimestamp" not in meta:
                    self._delete(f"{path}/{meta['name']}")
            assert time.monotonic() < until, f"{path}: not gone: {[found['metadata']['name'] for found in left]}"
            time.sleep(0.2)

    def _delete(self, path: str) -> None:
        try:
            self._conn.request("DELETE", path)
        except ApiProblem as error:
            if error.code not in (404, 409):
                raise

    def _found(self, path: str) -> bool:
        try:
            self._conn.request("GET", path)
        except ApiProblem as error:
            if error.code == 404:
                return False
            raise
        return True

    def _items(self, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
        try:
            found = json.loads(self._conn.request("GET", path, query=query).body)["items"]
        except ApiProblem as error:
            if error.code == 404:  # a kind that this cluster does not have
                return []
            raise
        return list(found)


class Guest(Installed):
    """A foreign cluster during a ``Visit``; its API server is spoken to through a recorder, for want of an audit log.

    ``address``: where the cluster finds this machine, for the logs of containers and the vaults. ``eso``: a real
    External Secrets Operator works there. Raises OSError where what it needs of this machine is taken.
    """

    def __init__(self, kubeconfig: str, *, address: str, eso: bool) -> None:
        self._conn: Connection = connect(kubeconfig, None, clock=Clock(), user_agent="tests")
        self._ours: set[str] = {AGENT_NAMESPACE}
        tokens = dict(self._tokens())
        tls = ssl.create_default_context(cadata=_authority_of(kubeconfig))
        recorder = Recorder(self._conn.host, tls, {each: name for name, each in tokens.items()})
        self.requested = self._recorder = recorder
        recorder.start()
        self._tunnel = Tunnel(address) if eso else None
        if self._tunnel:
            self._tunnel.start()
        self.grant(ALWAYS)
        self._cleaner = Cleaner(self._conn, SCENARIOS)
        settings = {
            "scheduler": SCHEDULER, "node_labels": SCENARIOS, "address": address, "heartbeat": _HEARTBEAT,
        }  # fmt: skip
        self.cluster = RealCluster(
            url=recorder.url, client=authority().client, pem=authority().pem, tokens=tokens, settings=settings, eso=eso
        )

    def _tokens(self) -> Iterator[tuple[str, str]]:
        """An account with all rights for each actor, and the agent's own with its own rights."""
        for user in USERS:
            if user == "agent":
                yield user, token(self._conn, seconds=_A_DAY)
                continue
            name = f"{LABEL.replace('/', '-')}-{user.replace(':', '-')}"
            about = {"metadata": {"name": name, "namespace": AGENT_NAMESPACE}}
            put(self._conn, {"apiVersion": "v1", "kind": "ServiceAccount", **about})
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
            subject = {"kind": "ServiceAccount", "name": name, "namespace": AGENT_NAMESPACE}
            binding = {"kind": "ClusterRoleBinding", "metadata": {"name": name}, "roleRef": role, "subjects": [subject]}
            put(self._conn, {"apiVersion": "rbac.authorization.k8s.io/v1", **binding}, SCENARIOS)
            yield user, token(self._conn, name, seconds=_A_DAY)

    def adapt(self, *objects: Object) -> list[Object]:
        """With our label, and for our own scheduler. Raises Refused for a namespace that is somebody else's."""
        adapted = [_adapted(obj) for obj in objects]
        for obj in adapted:
            meta = obj["metadata"]
            self._claim(meta["name"] if obj["kind"] == "Namespace" else meta.get("namespace", ""))
        return adapted

    def _claim(self, namespace: str) -> None:
        if not namespace or namespace in self._ours:
            return
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        if not put(self._conn, made, SCENARIOS):
            found = json.loads(self._conn.request("GET", f"{PATHS['Namespace']}/{namespace}").body)
            if not SCENARIOS.items() <= (found["metadata"].get("labels") or {}).items():
                raise Refused(f"{self._conn.host}: namespace {namespace} is there already, and not of these tests")
        self._ours.add(namespace)

    def lead_to(self, vaults: int) -> None:
        if self._tunnel:
            self._tunnel.lead_to(vaults)

    def grant(self, components: frozenset[str], namespace: str = "") -> None:
        grant(self._conn, components, SCENARIOS, namespace=namespace)

    def clean(self) -> bool:
        try:
            return self._cleaner.clean()
        except (ApiProblem, Unreachable):
            return False

    def stop(self) -> None:
        self._conn.close()
        self._recorder.stop()
        if self._tunnel:
            self._tunnel.stop()


def _adapted(obj: Object) -> Object:
    obj = copy.deepcopy(obj)
    kind = obj["kind"]
    if "namespace" not in obj["metadata"]:
        obj["metadata"]["labels"] = {**(obj["metadata"].get("labels") or {}), **SCENARIOS}
    if kind == "Pod":
        _place(obj["spec"], daemon=False)
    elif kind in _TEMPLATED:
        _place(obj["spec"]["template"]["spec"], daemon=kind == "DaemonSet")
    elif kind == "CronJob":
        _place(obj["spec"]["jobTemplate"]["spec"]["template"]["spec"], daemon=False)
    return obj


def _place(spec: Object, *, daemon: bool) -> None:
    spec["schedulerName"] = SCHEDULER
    if daemon:  # its pods are meant for each node, which here are ours
        spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **SCENARIOS}
        spec["tolerations"] = [*(spec.get("tolerations") or []), {"key": LABEL, "operator": "Exists"}]


def _authority_of(kubeconfig: str) -> str | None:
    """What the kubeconfig's current context trusts; None where that is what this machine trusts."""
    path = Path(kubeconfig)
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    context = next(each["context"] for each in config["contexts"] if each["name"] == config["current-context"])
    cluster = next(each["cluster"] for each in config["clusters"] if each["name"] == context["cluster"])
    if data := cluster.get("certificate-authority-data"):
        return base64.b64decode(str(data)).decode()
    if file := cluster.get("certificate-authority"):
        return (path.parent / str(file)).read_text()
    return None
